// "Try it": the answer as it comes, its evidence at once, and how it came about when it is whole.
// Loaded once: pages change under it, so it listens to the document. Every word is set as text.

import { eventsOf } from "./stream.js";

let running = null; // the answer that is being made: its AbortController

const find = (name) => document.querySelector(`[data-part="${name}"]`);
const milliseconds = (seconds) => `${Math.round(seconds * 1000)} ms`;

class Failed extends Error {
  constructor(problem) {
    super(problem.message);
    this.problem = problem;
  }
}

function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

// What is shown

function begin(question) {
  for (const name of ["begin", "problem", "understood", "improve", "how", "evidence"]) if (find(name)) find(name).hidden = true;
  for (const name of ["again", "answer"]) find(name).hidden = false;
  find("question").textContent = question;
  find("text").replaceChildren();
  find("mode").hidden = true;
  tell("Looking in your documents…");
}

function tell(text, isForScreenReaders = false) {
  find("state").textContent = text;
  find("state").classList.toggle("unseen", isForScreenReaders);
}

function showText(text) {
  find("text").replaceChildren(...text.split("\n\n").filter(Boolean).map((paragraph) => make("p", "", paragraph)));
}

function showEvidence(found, asked) {
  const [label, kind] = found.is_declined ? ["Declined", "warn"] : [document.getElementById("trial").dataset[found.mode], "good"];
  Object.assign(find("mode"), { hidden: false, className: `tag ${kind}`, textContent: label });
  find("understood").hidden = found.question === asked;
  find("understood").textContent = `Understood as: ${found.question}`;
  find("none").hidden = found.citations.length > 0;
  find("places").replaceChildren(...found.citations.map((place) => showPlace(place, found.mode)));
  find("evidence").hidden = false;
  showHow(found);
}

function showPlace(place, mode) {
  const item = document.getElementById("trial-place").content.firstElementChild.cloneNode(true);
  item.querySelector("blockquote").textContent = place.quote;
  const link = item.querySelector("a");
  link.href = place.url;
  const name = [place.title, place.heading].filter(Boolean).join(" › ");
  link.prepend(place.page ? `${name}, page ${place.page}` : name);
  if (mode === "pair") item.querySelector(".score").remove();
  else item.querySelector(".score").append(place.score.toFixed(2));
  return item;
}

// Beside the answer from the first event on, so that its text does not jump at the end; the sum is known then.
function showHow(told, isWhole = false) {
  const names = JSON.parse(document.getElementById("trial").dataset.steps);
  const meter = document.getElementById("trial-meter").content.firstElementChild.cloneNode(true);
  Object.assign(meter, { low: told.needed, value: Math.max(told.support, 0) });
  const facts = [[told.mode === "pair" ? "Nearness of the question" : "Support",
    [`${told.support.toFixed(2)} `, make("span", "soft", `of ${told.needed.toFixed(2)} needed`)]]];
  for (const [step, seconds] of Object.entries(told.seconds)) facts.push([names[step] ?? step, [milliseconds(seconds)]]);
  const all = Object.values(told.seconds).reduce((sum, one) => sum + one, 0);
  if (isWhole) facts.push(["Together", [make("strong", "", milliseconds(all))]]);
  const shown = facts.map(([term, fact]) => [make("dt", "", term), make("dd", "", ...fact)]);
  shown[0].push(make("dd", "bar", meter));
  find("facts").replaceChildren(...shown.flat());
  find("how").hidden = false;
}

function offerToImprove(question) {
  const place = find("improve"); // not there for who may not
  if (!place) return;
  const link = make("a", "button", "Improve this answer");
  link.href = `${document.body.dataset.home}/pairs/new?question=${encodeURIComponent(question)}`;
  place.replaceChildren(link);
  place.hidden = false;
  window.htmx?.process(place);
}

function showProblem({ message, hint }) {
  find("problem").querySelector(".what").textContent = message;
  find("problem").querySelector(".hint").textContent = hint ?? "";
  find("problem").hidden = false;
}

// Asking

async function receive(asked, signal) {
  const { home, csrf } = document.body.dataset;
  const response = await fetch(`${home}/api/chat`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", "X-Ruma-CSRF": csrf },
    body: JSON.stringify({ ...asked, channel: "trial" }),
    signal,
  });
  if (!response.ok) throw new Failed((await response.json()).error);
  let text = "";
  for await (const { name, data } of eventsOf(response)) {
    if (name === "evidence") {
      showEvidence(data, asked.question);
      tell(data.mode === "write" && !data.is_declined ? "Writing…" : "");
    } else if (name === "waiting") {
      tell(`${data.position} before this one. The evidence is here already…`);
    } else if (name === "token") {
      text += data.text;
      showText(text);
    } else if (name === "error") {
      throw new Failed(data.error);
    } else if (name === "done") {
      return data;
    }
  }
  throw new Failed({ message: "The connection was lost; the answer is incomplete." });
}

async function ask(form, question) {
  const controller = new AbortController();
  const { conversation, mode } = form.elements;
  setRunning(form, controller);
  begin(question);
  try {
    const done = await receive({ question, conversation: conversation.value || null, mode: mode.value || null }, controller.signal);
    if (!form.isConnected) return;
    conversation.value = done.conversation;
    showText(done.text);
    showHow(done, true);
    if (done.mode !== "pair") offerToImprove(question);
    form.querySelector("label").textContent = "And then?";
    form.elements.question.value = "";
    tell("The answer is whole.", true);
  } catch (error) {
    if (form.isConnected) endEarly(form, question, controller.signal.aborted ? null : error);
  } finally {
    setRunning(form, null);
  }
}

function endEarly(form, question, error) {
  tell(error ? "" : "Stopped. Nothing of it is kept.");
  if (!error) return;
  if (!find("text").hasChildNodes()) find("answer").hidden = true;
  form.elements.question.value = question;
  const problem = error.problem ?? { message: "The server cannot be reached.", hint: "Try again in a moment." };
  if (problem.code !== "not_found") {
    showProblem(problem);
    return;
  }
  form.elements.conversation.value = "";
  showProblem({ message: "What was tried before is not there any more.", hint: "Ask again to begin anew." });
}

function setRunning(form, controller) {
  running = controller;
  form.querySelector("[type=submit]").hidden = Boolean(controller);
  form.querySelector("[data-stop]").hidden = !controller;
  find("answer")?.setAttribute("aria-busy", String(Boolean(controller)));
}

document.addEventListener("submit", (event) => {
  const form = document.querySelector(".try-form");
  if (!form || !event.target.matches(".try-form, .try-one")) return;
  event.preventDefault();
  const question = (event.target === form ? form.elements.question.value : event.submitter.value).trim();
  if (question && !running) ask(form, question);
});
document.addEventListener("click", (event) => {
  if (!event.target.closest(".try-form [data-stop]")) return;
  running?.abort();
  document.getElementById("field-question").focus();
});
// Who goes to another page waits for no answer.
document.addEventListener("htmx:beforeSwap", () => running?.abort());
