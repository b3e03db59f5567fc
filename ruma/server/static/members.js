// What members' pages do beyond links and forms. Loaded once: pages change under it, so it listens to the document.

// htmx parses pages of ours, whose every value is escaped; nothing else may turn text into markup or scripts.
window.trustedTypes?.createPolicy("default", { createHTML: (html) => html });

// The menu on phones.
document.addEventListener("click", (event) => {
  const button = event.target.closest(".menu-button");
  if (!button) return;
  const isOpen = document.getElementById("places").classList.toggle("open");
  button.setAttribute("aria-expanded", String(isOpen));
});

// Times in the reader's own time zone, and days, which are the same everywhere.
const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const formatDay = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const time = new Date(element.dateTime);
    if (Number.isNaN(time.valueOf())) continue;
    element.textContent = (element.dateTime.length === 10 ? formatDay : format).format(time);
    element.dataset.local = "";
  }
}

// Copy buttons: data-copy names the element whose text is copied.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent.trim();
  await navigator.clipboard.writeText(text);
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
});

// What cannot be undone is asked for in a dialog, the way out being the first thing that has the focus.
document.addEventListener("htmx:confirm", (event) => {
  if (!event.detail.question) return;
  event.preventDefault();
  const dialog = document.createElement("dialog");
  const words = document.createElement("p");
  const buttons = document.createElement("div");
  const [no, yes] = ["Cancel", event.detail.elt.dataset.yes || "Go on"].map((label) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button", textContent: label });
    buttons.append(button);
    return button;
  });
  words.textContent = event.detail.question;
  words.id = "asked";
  dialog.setAttribute("aria-labelledby", "asked");
  buttons.className = "buttons";
  yes.classList.add("danger");
  dialog.append(words, buttons);
  dialog.addEventListener("close", () => dialog.remove());
  no.addEventListener("click", () => dialog.close());
  yes.addEventListener("click", () => {
    dialog.close();
    event.detail.issueRequest(true);
  });
  document.body.append(dialog);
  dialog.showModal();
  no.focus();
});

// A new page begins at its top, with its title read out.
document.addEventListener("htmx:afterSwap", (event) => {
  localise(document);
  if (event.detail.target !== document.body) return;
  document.getElementById("main")?.focus({ preventScroll: true });
});
document.addEventListener("DOMContentLoaded", () => {
  localise(document);
  document.body.dataset.ready = "";
});
document.addEventListener("htmx:sendError", () => {
  const main = document.querySelector(".page");
  if (!main || main.querySelector(".unreachable")) return;
  const note = document.createElement("p");
  Object.assign(note, { className: "problem unreachable", textContent: "The server cannot be reached. Try again in a moment." });
  note.setAttribute("role", "alert");
  main.prepend(note);
});
