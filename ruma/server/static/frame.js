// The widget's frame on a business's website. It speaks with the page that holds it in four fixed words and no
// others, so nothing that a visitor says, and no secret, can reach that page.

import { log } from "./answers.js";
import { isAnythingOpen, offerHelp } from "./helping.js";
import { focusField, isBusy, listen, lookForReplies, restore, settings, stopAnswer } from "./talk.js";

const { websites, preview } = document.body.dataset;
const allowed = JSON.parse(websites);
const close = document.getElementById("close");
let holder = null; // the origin of the page that holds the frame, once it has said a word

// Kept apart by browsers for each website, and written to only once the visitor's first question is answered.
settings.storage = () => localStorage;
settings.channel = "widget";
settings.showsHints = false;
settings.isOpen = false;

function leave() {
  settings.isOpen = false;
  if (holder) parent.postMessage("ruma:close", holder);
}

function hear(event) {
  if (event.source !== parent || !allowed.includes(event.origin)) return;
  if (event.data === "ruma:open" || event.data === "ruma:show") {
    holder = settings.website = event.origin;
    settings.isOpen = true;
    if (event.data === "ruma:open") focusField();
    lookForReplies();
  } else if (event.data === "ruma:hide") {
    settings.isOpen = false;
  }
}

function begin() {
  addEventListener("message", hear);
  listen();
  offerHelp();
  close.addEventListener("click", leave);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || isAnythingOpen()) return;
    if (isBusy()) stopAnswer();
    else leave();
  });
}

// The members' live preview: it shows what is set, and asks nothing.

function showPreview({ data, origin, source }) {
  if (origin !== location.origin || source !== parent || typeof data !== "object" || data === null) return;
  const { accent, theme, name, greeting, questions } = data;
  if (/^#[0-9a-f]{6}$/i.test(accent) && ["auto", "light", "dark"].includes(theme)) {
    const look = document.getElementById("look");
    const address = `${look.dataset.address}?accent=${accent.slice(1)}&theme=${theme}`;
    if (look.getAttribute("href") !== address) look.setAttribute("href", address);
  }
  if (typeof name === "string") {
    document.querySelector("h1").textContent = name;
    document.querySelector(".badge").textContent = (/[\p{L}\p{N}]/u.exec(name)?.[0] ?? "·").toUpperCase();
  }
  if (typeof greeting === "string") log.querySelector(".greeting .text p").textContent = greeting;
  if (Array.isArray(questions)) showQuestions(questions.filter((one) => typeof one === "string" && one.trim()));
}

function showQuestions(questions) {
  const buttons = questions.slice(0, 20).map((text) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button suggestion", textContent: text });
    return button;
  });
  const suggestions = document.getElementById("suggestions");
  suggestions.replaceChildren(...buttons);
  suggestions.hidden = !buttons.length;
}

function beginPreview() {
  addEventListener("message", showPreview);
  document.addEventListener("submit", (event) => event.preventDefault());
}

if (preview === undefined) {
  begin();
  await restore();
} else {
  beginPreview();
}
document.body.dataset.ready = "";
