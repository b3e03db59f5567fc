// Shows what is said in a conversation, on the chat page and in the widget's frame: the only renderer there is.
// Every word of a visitor, a document, a model or a person is set as text; nothing is ever parsed as markup.

export const home = document.body.dataset.home;
export const agentName = document.body.dataset.agent;
export const log = document.getElementById("log");

const strings = JSON.parse(document.body.dataset.words);

export function words(name, values = {}) {
  return strings[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

export function hasWords(name) {
  return Object.hasOwn(strings, name);
}

export function part(name) {
  return document.getElementById(name).content.firstElementChild.cloneNode(true);
}

export function showVisitor(text) {
  const message = part("visitor-message");
  message.querySelector(".words").textContent = text;
  log.append(message);
  return message;
}

export function showAgent() {
  const message = part("agent-message");
  log.append(message);
  return message;
}

export function showPerson(said) {
  const message = part("person-message");
  message.querySelector(".author").textContent = said.author;
  message.querySelector(".words").textContent = said.text;
  log.append(message);
  return message;
}

function ownAddress(url) {
  return typeof url === "string" && url.startsWith(`${home}/documents/`) ? url : null;
}

export function fillText(message, text, places) {
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
      mark.setAttribute("aria-label", words("source", { number: piece }));
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
    item.querySelector(".title").textContent = place.title || words("gone");
    item.querySelector(".heading").textContent = place.heading;
    item.querySelector(".page").textContent = place.page ? words("page", { number: place.page }) : "";
    return item;
  });
  message.querySelector(".sources").replaceChildren(...items);
}

// One function fills an answer, while it comes, when it is whole and when the page is loaded again.
export function fillAnswer(message, answer) {
  message.dataset.mode = answer.mode;
  message.toggleAttribute("data-declined", answer.is_declined);
  // A quoted answer is its sources: their quotes are its words.
  fillText(message, answer.mode === "quote" && !answer.is_declined ? "" : answer.text, answer.citations);
  fillSources(message, answer.citations);
}

export function showProblem(problem, again) {
  const message = part("problem");
  message.querySelector(".what").textContent = problem.message;
  message.querySelector(".hint").textContent = problem.hint ?? "";
  if (again) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button", textContent: words("try_again") });
    button.addEventListener("click", again);
    message.append(button);
  }
  log.append(message);
  return message;
}

export function showNotice(text) {
  const notice = document.createElement("p");
  Object.assign(notice, { className: "notice-line", textContent: text });
  log.append(notice);
  return notice;
}

// What a screen reader is told once an answer is whole.
export function spoken(answer) {
  const said = answer.text.replace(/\s*\[[0-9]{1,3}\]/g, "");
  const count = answer.citations.length;
  return count ? `${said} (${count === 1 ? words("one_source") : words("many_sources", { count })})` : said;
}
