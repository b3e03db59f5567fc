// A visitor's conversation with the agent: asks, shows the answer as it comes, and remembers it for a reload.
// The chat page and the widget's frame both begin it; what differs between them is in `settings`.

import {
  agentName, fillAnswer, fillText, hasWords, home, log, showAgent, showNotice, showPerson, showProblem, showVisitor, spoken, words,
} from "./answers.js";
import { eventsOf } from "./stream.js";

const talk = document.getElementById("talk");
const form = document.getElementById("ask");
const field = document.getElementById("question");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const status = document.getElementById("status");
const suggestions = document.getElementById("suggestions");
const consent = document.getElementById("consent");
const { csrf } = document.body.dataset;
const kept = `ruma-conversation:${home}`;
const keptPerson = `${kept}:person`;
const canHover = matchMedia("(hover: hover) and (pointer: fine)").matches;
const POLL_SECONDS = 9;

export const settings = {
  storage: () => sessionStorage, // where what is kept is remembered
  channel: "page",
  website: "",
  language: document.documentElement.lang,
  showsHints: true,
  isOpen: true, // whether the visitor sees it
  whenDone: () => {}, // called with each whole answer and its element
};

let running = null; // the answer that is being made: its AbortController
let conversation = form.elements.conversation.value || null; // the secret that opens it
let hasPerson = false; // a person was asked for, or has replied
let isPassing = false; // it is not kept: its secret ends with the tab, and it is deleted soon after the visitor left
const shownReplies = new Set();

// What the browser remembers, from the first answer on: of what is not kept, the tab alone, so that it goes on on the
// website's next page. A browser that allows no storage remembers nothing, and the conversation works.

const tab = () => sessionStorage;

function remember(secret, isKept) {
  forgetHere();
  conversation = secret;
  isPassing = !isKept;
  if (consent) consent.hidden = true;
  try {
    const storage = isKept ? settings.storage() : tab();
    storage.setItem(kept, secret);
    if (hasPerson && isKept) storage.setItem(keptPerson, "asked");
  } catch {
    // Not allowed here.
  }
}

function remembered(where, key = kept) {
  try {
    return where().getItem(key);
  } catch {
    return null;
  }
}

export function forget() {
  forgetHere();
  conversation = null;
  hasPerson = isPassing = false;
}

// Another tab may have begun one of its own since: that one is not forgotten.
function forgetHere() {
  for (const where of [tab, settings.storage]) {
    if (!conversation || remembered(where) !== conversation) continue;
    where().removeItem(kept);
    where().removeItem(keptPerson);
  }
}

export function hasConversation() {
  return Boolean(conversation);
}

export function isKept() {
  return Boolean(conversation) && !isPassing;
}

// After the visitor chose otherwise.
export function setKept(isKept) {
  if (conversation) remember(conversation, isKept);
}

// The page may go before this is answered.
function sayLast(method, path, body) {
  const headers = { "X-Ruma-CSRF": csrf, "X-Ruma-Conversation": conversation };
  if (body) headers["Content-Type"] = "application/json";
  fetch(`${home}/api/${path}`, { method, headers, body: body && JSON.stringify(body), keepalive: true }).catch(() => {});
}

export function endPassing() {
  if (!conversation || !isPassing) return;
  sayLast("DELETE", "conversation");
  forget();
}

// What is not kept waits some minutes for the website's next page. Where the browser cannot say that it leaves, the
// server ends the conversation by itself, some time after the last message.
function leave() {
  if (conversation && isPassing) sayLast("PUT", "conversation/presence", { is_here: false });
}

async function comeBack() {
  if (!conversation || !isPassing || document.visibilityState !== "visible") return;
  await call("PUT", "conversation/presence", { is_here: true }).catch((error) => {
    if (error.problem?.code === "not_found" && !running) forget();
  });
}

// What the visitor agrees to before the conversation begins.
function chosen() {
  if (conversation) return {};
  const { keep, analytics } = form.elements;
  return { keep: Boolean(keep?.checked), analytics: Boolean(keep?.checked && analytics.checked) };
}

// Requests

export class Failed extends Error {
  constructor(problem) {
    super(problem.message);
    this.problem = problem;
  }
}

async function problemOf(response) {
  try {
    return (await response.json()).error;
  } catch {
    return { code: "failed", message: words("problem"), hint: "" };
  }
}

export async function call(method, path, body) {
  const headers = { "X-Ruma-CSRF": csrf };
  if (conversation) headers["X-Ruma-Conversation"] = conversation;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(`${home}/api/${path}`, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Failed(await problemOf(response));
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export async function openFile(path) {
  const headers = { "X-Ruma-CSRF": csrf, "X-Ruma-Conversation": conversation };
  const response = await fetch(`${home}/api/${path}`, { headers });
  if (!response.ok) throw new Failed(await problemOf(response));
  return response.blob();
}

// The server's sentences are English and made for whoever set it up; a visitor reads them in their own language.
export function explain(error) {
  const problem = error.problem ?? { code: "", message: words("unreachable"), hint: words("unreachable_hint") };
  if (settings.showsHints || !problem.code) return problem;
  const name = `problem_${problem.code}`;
  const isPlain = problem.code === "bad_request" && settings.language === "en";
  return { code: problem.code, message: hasWords(name) ? words(name) : isPlain ? problem.message : words("problem"), hint: "" };
}

// Scrolling: follow what is new, but never push the question that it answers off the top.

let anchor = null;

function follow() {
  if (!anchor) return;
  const top = anchor.getBoundingClientRect().top - talk.getBoundingClientRect().top + talk.scrollTop - 20;
  const target = Math.min(top, talk.scrollHeight - talk.clientHeight);
  if (target > talk.scrollTop) talk.scrollTop = target;
}

export function followFrom(element) {
  anchor = element;
  follow();
}

for (const kind of ["wheel", "touchmove", "keydown"]) {
  talk.addEventListener(kind, () => { anchor = null; }, { passive: true });
}

// The stream

async function receive(question, message, signal) {
  const { channel, website, language } = settings;
  const response = await fetch(`${home}/api/chat`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", "X-Ruma-CSRF": csrf },
    body: JSON.stringify({ question, conversation, channel, website, language, ...chosen() }),
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
        message.querySelector(".doing").textContent = words("writing");
        follow();
      } else if (name === "waiting") {
        message.querySelector(".doing").textContent = words("waiting", data);
      } else if (name === "token") {
        answer.text += data.text;
        if (answer.mode !== "quote" || answer.is_declined) frame ||= requestAnimationFrame(refresh);
      } else if (name === "error") {
        throw new Failed(data.error);
      } else if (name === "done") {
        if (data.conversation) remember(data.conversation, data.is_kept); // empty where the disk was full
        return data;
      }
    }
  } finally {
    cancelAnimationFrame(frame);
  }
  throw new Failed({ code: "", message: words("lost"), hint: "" });
}

// Asking

function setBusy(controller) {
  running = controller;
  send.hidden = Boolean(controller);
  stop.hidden = !controller;
  log.setAttribute("aria-busy", String(Boolean(controller)));
}

export function isBusy() {
  return Boolean(running);
}

export function tell(text) {
  status.textContent = text;
}

function finishAnswer(message, answer, id) {
  fillAnswer(message, answer);
  message.dataset.state = "done";
  settings.whenDone(message, answer, id);
}

async function ask(question) {
  const controller = new AbortController();
  setBusy(controller);
  hideSuggestions();
  const asked = showVisitor(question);
  const message = showAgent();
  followFrom(asked);
  tell(words("looking"));
  try {
    const answer = await receive(question, message, controller.signal);
    finishAnswer(message, answer, answer.message_id);
    tell(spoken(answer));
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
    message.querySelector(".note").textContent = words("stopped");
    tell(words("stopped"));
    return;
  }
  const problem = explain(error);
  const isOver = problem.code === "not_found" && isPassing;
  if (problem.code === "not_found") forget();
  tell("");
  if (isOver) {
    // It was not kept, and the visitor was away for long: what is asked now begins another.
    for (const element of [asked, message]) element.remove();
    queueMicrotask(() => ask(question));
    return;
  }
  // Of a document that was removed while the answer was written, nothing stays in sight.
  if (problem.code === "conflict" || !message.querySelector(".text, .sources").childElementCount) message.remove();
  const shown = showProblem(problem, () => {
    for (const element of [asked, message, shown]) element.remove();
    focusField();
    ask(question);
  });
}

function hideSuggestions() {
  if (suggestions) suggestions.hidden = true;
}

export function focusField() {
  // On a phone this would raise the keyboard over the answer.
  if (canHover) field.focus({ preventScroll: true });
}

function fit() {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

export function stopAnswer() {
  running?.abort();
  field.focus();
}

export function listen() {
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
    if (running) return;
    focusField();
    ask(event.submitter.value);
  });
  stop.addEventListener("click", stopAnswer);
  setInterval(() => { lookForReplies(); }, POLL_SECONDS * 1000);
  document.addEventListener("visibilitychange", lookForReplies);
  document.addEventListener("visibilitychange", comeBack); // another tab may have left the same conversation
  addEventListener("pagehide", leave);
  addEventListener("pageshow", async (event) => {
    if (!event.persisted) return;
    await comeBack();
    if (conversation) return;
    startOver();
    await restore();
  });
  fit();
}

// After a reload, what was said is fetched and shown by the same functions.

export async function restore() {
  const found = (await reopen(tab)) ?? (await reopen(settings.storage));
  if (!found || running) return;
  for (const said of found.messages) showAgain(said);
  noticePerson(found);
  hideSuggestions();
  talk.scrollTop = talk.scrollHeight;
}

async function reopen(where) {
  const secret = remembered(where);
  if (conversation || !secret) return null;
  conversation = secret;
  if (consent) consent.hidden = true;
  try {
    const found = await call("GET", "conversation");
    isPassing = !found.is_kept;
    await comeBack();
    return found;
  } catch (error) {
    if (error.problem?.code === "not_found") forget();
    conversation = null;
    if (consent) consent.hidden = false;
    return null;
  }
}

function showAgain(said) {
  if (said.role === "visitor") {
    showVisitor(said.text);
  } else if (said.role === "person") {
    showReply(said);
  } else {
    finishAnswer(showAgent(), said, said.id);
  }
}

function showReply(said) {
  shownReplies.add(said.id);
  return showPerson(said);
}

// Replies of a person: looked for only once there can be one, and only while the visitor looks.

function noticePerson(found) {
  hasPerson ||= remembered(settings.storage, keptPerson) !== null || found.messages.some((said) => said.role === "person");
}

export async function lookForReplies() {
  if (!hasPerson || !conversation || !settings.isOpen || running || document.visibilityState !== "visible") return;
  const found = await call("GET", "conversation").catch((error) => {
    if (error.problem?.code === "not_found") forget();
  });
  if (!found || running) return;
  for (const said of found.messages) {
    if (said.role !== "person" || shownReplies.has(said.id)) continue;
    followFrom(showReply(said));
    tell(`${words("replied", { name: said.author || agentName })}: ${said.text}`);
  }
}

export async function askPerson(name, email, message) {
  const { channel, website, language } = settings;
  const body = { name, email, message, channel, website, language, ...chosen() };
  const given = await call("POST", "conversation/person", body);
  hasPerson = true;
  remember(given.conversation, true);
  hideSuggestions();
  followFrom(showVisitor(message));
  showNotice(words("person_sent"));
  follow();
  tell(words("person_sent"));
}

export function startOver() {
  running?.abort();
  endPassing();
  forget();
  if (consent) consent.hidden = false;
  shownReplies.clear();
  for (const message of [...log.children]) if (!message.matches(".greeting")) message.remove();
  if (suggestions) suggestions.hidden = false;
  tell("");
  focusField();
}

export async function deleteConversation() {
  running?.abort();
  if (conversation) {
    await call("DELETE", "conversation").catch((error) => {
      if (error.problem?.code !== "not_found") throw error;
    });
  }
  forget();
  startOver();
  tell(words("deleted"));
}
