// The chat page. Every word of a visitor, a document or a model is set as text; nothing is ever parsed as markup.

const { home, csrf } = document.body.dataset;
const talk = document.getElementById("talk");
const log = document.getElementById("log");
const form = document.getElementById("ask");
const field = document.getElementById("question");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const status = document.getElementById("status");
const suggestions = document.getElementById("suggestions");
const kept = `ruma-conversation:${home}`;
const canHover = matchMedia("(hover: hover) and (pointer: fine)").matches;

let running = null; // the answer that is being made: its AbortController
let conversation = form.elements.conversation.value || null;

// Parts of the page

function part(name) {
  return document.getElementById(name).content.firstElementChild.cloneNode(true);
}

function showVisitor(text) {
  const message = part("visitor-message");
  message.querySelector(".words").textContent = text;
  log.append(message);
  return message;
}

function showAgent() {
  const message = part("agent-message");
  log.append(message);
  return message;
}

function ownAddress(url) {
  return typeof url === "string" && url.startsWith(`${home}/documents/`) ? url : null;
}

function fillText(message, text, places) {
  const urls = new Map(places.map((place) => [place.number, ownAddress(place.url)]));
  const paragraphs = text.trim().split(/\n{2,}/).map((paragraph) => {
    const p = document.createElement("p");
    paragraph.split(/\[([0-9]{1,3})\]/).forEach((piece, index) => {
      const url = index % 2 ? urls.get(Number(piece)) : null;
      if (!url) {
        p.append(index % 2 ? `[${piece}]` : piece);
        return;
      }
      const mark = document.createElement("a");
      Object.assign(mark, { className: "mark", target: "_blank", rel: "noopener noreferrer", href: url, textContent: piece });
      mark.setAttribute("aria-label", `Source ${piece}`);
      p.append(mark);
    });
    return p;
  });
  message.querySelector(".text").replaceChildren(...(text.trim() ? paragraphs : []));
}

// A table row that was put into words, "Product: bread; Price: £3.", is easier to read with its labels told apart.
const ROW = /^[^:;\n]{1,60}: [^;\n]+(?:; [^:;\n]{1,60}: [^;\n]+)+$/;

function fillQuote(element, quote) {
  if (!ROW.test(quote)) {
    element.textContent = quote;
    return;
  }
  const parts = quote.split(/((?<=^|; )[^:;\n]{1,60}:(?= ))/).map((text, index) => {
    if (index % 2 === 0) return text;
    const name = document.createElement("span");
    Object.assign(name, { className: "name", textContent: text });
    return name;
  });
  element.replaceChildren(...parts);
}

function fillSources(message, places) {
  const items = places.map((place) => {
    const item = part("source");
    const link = item.querySelector(".place");
    const url = ownAddress(place.url);
    item.value = place.number;
    if (url) link.href = url;
    fillQuote(item.querySelector(".quote"), place.quote ?? "");
    item.querySelector(".number").textContent = place.number;
    item.querySelector(".title").textContent = place.title || "A document that is gone";
    item.querySelector(".heading").textContent = place.heading;
    item.querySelector(".page").textContent = place.page ? `Page ${place.page}` : "";
    return item;
  });
  message.querySelector(".sources").replaceChildren(...items);
}

// One function fills an answer, while it comes, when it is whole and when the page is loaded again.
function fillAnswer(message, answer) {
  message.dataset.mode = answer.mode;
  message.toggleAttribute("data-declined", answer.is_declined);
  // A quoted answer is its sources: their quotes are its words.
  fillText(message, answer.mode === "quote" && !answer.is_declined ? "" : answer.text, answer.citations);
  fillSources(message, answer.citations);
}

function showProblem(problem, again) {
  const message = part("problem");
  message.querySelector(".what").textContent = problem.message;
  message.querySelector(".hint").textContent = problem.hint ?? "";
  if (again) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button", textContent: "Try again" });
    button.addEventListener("click", again);
    message.append(button);
  }
  log.append(message);
  return message;
}

// Scrolling: follow what is new, but never push the question that it answers off the top.

let anchor = null;

function follow() {
  if (!anchor) return;
  const top = anchor.getBoundingClientRect().top - talk.getBoundingClientRect().top + talk.scrollTop - 20;
  const target = Math.min(top, talk.scrollHeight - talk.clientHeight);
  if (target > talk.scrollTop) talk.scrollTop = target;
}

for (const kind of ["wheel", "touchmove", "keydown"]) {
  talk.addEventListener(kind, () => { anchor = null; }, { passive: true });
}

// The stream

async function* eventsOf(response) {
  let buffer = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block);
      const data = /^data: (.*)$/m.exec(block);
      if (name && data) yield { name: name[1], data: JSON.parse(data[1]) };
    }
  }
}

class Failed extends Error {
  constructor(problem) {
    super(problem.message);
    this.problem = problem;
  }
}

async function problemOf(response) {
  try {
    return (await response.json()).error;
  } catch {
    return { message: "The server gave no answer.", hint: "" };
  }
}

async function receive(question, message, signal) {
  const response = await fetch(`${home}/api/chat`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", "X-Ruma-CSRF": csrf },
    body: JSON.stringify({ question, conversation, channel: "page", language: document.documentElement.lang }),
    signal,
  });
  if (!response.ok) throw new Failed(await problemOf(response));
  const answer = { mode: "quote", is_declined: false, text: "", citations: [] };
  let frame = 0;
  const refresh = () => {
    frame = 0;
    fillText(message, answer.text, answer.citations);
    message.dataset.state = "writing";
    follow();
  };
  try {
    for await (const { name, data } of eventsOf(response)) {
      if (name === "evidence") {
        Object.assign(answer, { mode: data.mode, is_declined: data.is_declined, citations: data.citations });
        fillAnswer(message, answer);
        message.querySelector(".doing").textContent = "Writing an answer from these…";
        follow();
      } else if (name === "token") {
        answer.text += data.text;
        if (answer.mode === "write" || answer.is_declined) frame ||= requestAnimationFrame(refresh);
      } else if (name === "error") {
        throw new Failed(data.error);
      } else if (name === "done") {
        conversation = data.conversation;
        sessionStorage.setItem(kept, conversation);
        return data;
      }
    }
  } finally {
    cancelAnimationFrame(frame);
  }
  throw new Failed({ message: "The connection was lost; the answer is incomplete.", hint: "" });
}

// Asking

function setBusy(controller) {
  running = controller;
  send.hidden = Boolean(controller);
  stop.hidden = !controller;
  log.setAttribute("aria-busy", String(Boolean(controller)));
}

function spoken(answer) {
  const words = answer.text.replace(/\s*\[[0-9]{1,3}\]/g, "");
  const count = answer.citations.length;
  return count ? `${words} (${count} ${count === 1 ? "source" : "sources"})` : words;
}

async function ask(question) {
  const controller = new AbortController();
  setBusy(controller);
  suggestions?.remove();
  const asked = showVisitor(question);
  const message = showAgent();
  anchor = asked;
  follow();
  status.textContent = "Looking in the documents…";
  try {
    const answer = await receive(question, message, controller.signal);
    fillAnswer(message, answer);
    message.dataset.state = "done";
    status.textContent = spoken(answer);
  } catch (error) {
    endEarly(question, asked, message, controller.signal.aborted ? null : error);
  } finally {
    follow();
    if (running === controller) setBusy(null);
  }
}

function endEarly(question, asked, message, error) {
  message.dataset.state = "done";
  if (!error) {
    message.querySelector(".note").textContent = "Stopped.";
    status.textContent = "Stopped.";
    return;
  }
  const problem = error.problem ?? { message: "The server cannot be reached.", hint: "Check that it is running." };
  if (problem.code === "not_found") forget();
  status.textContent = "";
  if (!message.querySelector(".text, .sources").childElementCount) message.remove();
  const shown = showProblem(problem, () => {
    for (const element of [asked, message, shown]) element.remove();
    focusField();
    ask(question);
  });
}

function forget() {
  conversation = null;
  sessionStorage.removeItem(kept);
}

function focusField() {
  // On a phone this would raise the keyboard over the answer.
  if (canHover) field.focus();
}

function fit() {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = field.value.trim();
  if (!question || running) return;
  field.value = "";
  fit();
  ask(question);
});

field.addEventListener("input", fit);
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});

suggestions?.addEventListener("submit", (event) => {
  event.preventDefault();
  focusField();
  ask(event.submitter.value);
});

function stopAnswer() {
  running?.abort();
  field.focus();
}

stop.addEventListener("click", stopAnswer);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) stopAnswer();
});

document.getElementById("again").addEventListener("click", () => {
  running?.abort();
  forget();
});

// After a reload, what was said is fetched and shown by the same functions.

async function restore() {
  const id = sessionStorage.getItem(kept);
  if (conversation || !id) return;
  const headers = { "X-Ruma-Conversation": id };
  const response = await fetch(`${home}/api/conversation`, { headers }).catch(() => null);
  if (!response?.ok || running) {
    if (response?.status === 404) forget();
    return;
  }
  conversation = id;
  for (const said of (await response.json()).messages) {
    if (said.role === "visitor") {
      showVisitor(said.text);
    } else {
      const message = showAgent();
      fillAnswer(message, said);
      message.dataset.state = "done";
    }
  }
  suggestions?.remove();
  talk.scrollTop = talk.scrollHeight;
}

fit();
await restore();
document.body.dataset.ready = "";
if (canHover) field.focus({ preventScroll: true });
