// Files that are dropped or chosen on the page of sources: sent one by one as they are, with a bar each.
// The rows are kept here, so that they are there again when the member comes back to the page.

const AT_ONCE = 3;
const waiting = [];
const rows = new Set();
let running = 0;

function zone() {
  return document.querySelector(".drop-zone");
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

// Read out: only what became of a file, not every percent of it.
function say(text) {
  const place = document.getElementById("coming-said");
  if (place) place.textContent = text;
}

function button(label, name, act) {
  const made = make("button", "button small", label);
  made.type = "button";
  made.setAttribute("aria-label", `${label}: ${name}`);
  made.addEventListener("click", act);
  return made;
}

class Row {
  constructor(file, url, most) {
    Object.assign(this, { file, url, most });
    this.element = make("li", "");
    this.state = make("p", "coming-state", "Waiting");
    this.bar = make("progress", "");
    this.bar.max = 1;
    this.bar.value = 0;
    this.bar.setAttribute("aria-label", `Sent of ${file.name}`);
    this.buttons = make("div", "buttons");
    this.element.append(make("p", "coming-name", file.name), this.bar, this.state, this.buttons);
    this.offer(["Cancel", () => this.cancel()]);
    rows.add(this);
    this.show();
    if (file.size > most) this.fail(`is larger than ${Math.floor(most / 1e6)} MB, which is the most that is taken.`, false);
    else waiting.push(this);
  }

  show() {
    document.getElementById("coming")?.append(this.element);
  }

  offer(...acts) {
    this.buttons.replaceChildren(...acts.map(([label, act]) => button(label, this.file.name, act)));
  }

  send() {
    running += 1;
    this.element.classList.remove("failed");
    const request = new XMLHttpRequest();
    this.request = request;
    request.open("PUT", `${this.url}?name=${encodeURIComponent(this.file.name)}`);
    request.setRequestHeader("X-Ruma-CSRF", document.body.dataset.csrf);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => this.progress(event.loaded));
    request.addEventListener("load", () => this.answered(request));
    request.addEventListener("error", () => this.fail("could not be sent: the connection broke off."));
    request.addEventListener("loadend", () => {
      running -= 1;
      next();
    });
    this.progress(0);
    request.send(this.file);
  }

  progress(sent) {
    this.bar.value = this.file.size ? Math.min(sent / this.file.size, 1) : 1;
    const percent = Math.floor(this.bar.value * 100);
    this.state.textContent = percent < 100 ? `${percent} % sent` : "Sent, being kept";
  }

  answered(request) {
    if (request.status === 200) {
      say(`${this.file.name} was added.`);
      this.remove();
      refresh();
    } else if (request.status === 429) {
      this.state.textContent = "Waiting for others to end";
      setTimeout(() => {
        waiting.push(this);
        next();
      }, 1000 * (Number(request.getResponseHeader("Retry-After")) || 2));
    } else {
      let problem = {};
      try {
        problem = JSON.parse(request.responseText).error;
      } catch {}
      this.fail(`could not be added. ${problem.message ?? ""} ${problem.hint ?? ""}`.trim());
    }
  }

  fail(reason, again = true) {
    this.element.classList.add("failed");
    this.state.textContent = `This file ${reason}`;
    say(`${this.file.name} ${reason}`);
    const acts = [["Dismiss", () => this.remove()]];
    if (again) acts.unshift(["Try again", () => { this.offer(["Cancel", () => this.cancel()]); waiting.push(this); next(); }]);
    this.offer(...acts);
  }

  cancel() {
    const place = waiting.indexOf(this);
    if (place >= 0) waiting.splice(place, 1);
    this.request?.abort();
    this.remove();
  }

  remove() {
    const hadFocus = this.element.contains(document.activeElement);
    rows.delete(this);
    this.element.remove();
    if (hadFocus) document.getElementById("files")?.focus();
  }
}

function next() {
  while (running < AT_ONCE && waiting.length) waiting.shift().send();
}

function refresh() {
  const list = document.getElementById("source-list");
  if (list) htmx.trigger(list, "refresh-sources");
}

function take(files) {
  const { upload, most } = zone().dataset;
  for (const file of files) new Row(file, upload, Number(most));
  next();
}

function isOfFiles(event) {
  return zone() && event.dataTransfer?.types.includes("Files");
}

document.addEventListener("change", (event) => {
  if (event.target.id !== "files") return;
  take(event.target.files);
  event.target.value = "";
});

// Files may be dropped anywhere on the page; elsewhere the browser would leave it and open the file.
let depth = 0;
document.addEventListener("dragenter", (event) => {
  if (!isOfFiles(event)) return;
  depth += 1;
  zone().classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!isOfFiles(event)) return;
  depth = Math.max(0, depth - 1);
  if (!depth) zone().classList.remove("over");
});
document.addEventListener("dragover", (event) => {
  if (isOfFiles(event)) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  if (!isOfFiles(event)) return;
  event.preventDefault();
  depth = 0;
  zone().classList.remove("over");
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
  take(items.filter((item) => !folders.includes(item)).map((item) => item.getAsFile()));
  for (const folder of folders) {
    const file = new File([], folder.webkitGetAsEntry().name);
    const row = new Row(file, "", -1);
    row.fail("is a folder. Open it and drop the files in it.", false);
  }
});

document.addEventListener("htmx:beforeRequest", (event) => {
  // Not while a question is open about a row of the list: it would be gone before the answer.
  if (event.detail.elt.id === "source-list" && document.querySelector("dialog[open]")) event.preventDefault();
});
document.addEventListener("htmx:afterSwap", () => {
  for (const row of rows) if (!row.element.isConnected) row.show();
});
addEventListener("beforeunload", (event) => {
  if (running || waiting.length) event.preventDefault();
});
