// "My data": what is stored of a visitor's conversation, and what the visitor can do about it.

import { home, words } from "./answers.js";
import { call, explain, hasConversation, openFile, setKept, settings } from "./talk.js";

const dialog = document.getElementById("data");
const nothing = dialog.querySelector(".nothing");
const stored = dialog.querySelector(".of-conversation");
const facts = dialog.querySelector(".facts");
const choices = dialog.querySelector("fieldset");
const told = dialog.querySelector(".told");
const failed = dialog.querySelector(".failed");
const details = document.getElementById("details");
const request = document.getElementById("request");
const link = document.getElementById("link"); // not there where the server sends no mail
const [keep, analytics] = choices.querySelectorAll("input");

function when(text, style = { dateStyle: "medium", timeStyle: "short" }) {
  return new Intl.DateTimeFormat(document.documentElement.lang, style).format(new Date(text));
}

function showFact(name, value) {
  if (value === "" || value === 0) return;
  const [term, fact] = ["dt", "dd"].map((tag) => document.createElement(tag));
  term.textContent = words(name);
  fact.textContent = value;
  facts.append(term, fact);
}

function fill(data) {
  facts.replaceChildren();
  showFact("data_messages", data.messages);
  showFact("data_opinions", data.opinions);
  showFact("data_began", when(data.started_at));
  showFact("data_last", when(data.last_at));
  showFact("data_website", data.website);
  showFact("data_language", data.language);
  showFact("data_name", data.name);
  showFact("data_email", data.email);
  const { is_kept: isKept, is_counted: isCounted, choices: made } = data.consent;
  showFact("data_kept", isKept ? words("data_days", { days: data.kept_days }) : words("data_passing", { left: data.left_minutes, minutes: data.passing_minutes }));
  for (const [box, isOn, purpose] of [[keep, isKept, "keep"], [analytics, isCounted, "analytics"]]) {
    const last = made.filter((one) => one.purpose === purpose).at(-1);
    box.checked = isOn;
    box.closest("label").querySelector(".since").textContent = isOn && last?.is_given ? `(${words("data_since", { date: when(last.at) })})` : "";
  }
  details.elements.name.value = data.name;
  details.elements.email.value = data.email;
  setKept(isKept);
}

function say(text) {
  failed.textContent = "";
  told.textContent = text;
}

// Runs what may fail and shows the failure in the dialog; tells whether it went well.
async function attempt(work, button) {
  say("");
  if (button) button.disabled = true;
  try {
    await work();
    return true;
  } catch (error) {
    failed.textContent = explain(error).message;
    return false;
  } finally {
    if (button) button.disabled = false;
  }
}

async function refresh() {
  const has = hasConversation();
  nothing.hidden = has;
  stored.hidden = !has;
  if (has) await attempt(async () => fill(await call("GET", "conversation/data")));
}

export async function openData() {
  say("");
  // Filled before it is shown: the focus goes to the first thing in it.
  await refresh();
  if (!dialog.open) dialog.showModal();
}

export function isDataOpen() {
  return dialog.open;
}

async function choose() {
  const body = { keep: keep.checked, analytics: keep.checked && analytics.checked, language: settings.language };
  const isDone = await attempt(async () => {
    fill(await call("PATCH", "conversation/consent", body));
    say(words("data_saved"));
  });
  if (!isDone) await call("GET", "conversation/data").then(fill).catch(() => {});
}

async function saveDetails(event) {
  event.preventDefault();
  const { name, email, send } = details.elements;
  await attempt(async () => {
    fill(await call("PATCH", "conversation/details", { name: name.value, email: email.value }));
    say(words("data_saved"));
  }, send);
}

async function sendRequest(event) {
  event.preventDefault();
  const { kind, contact, note, send } = request.elements;
  await attempt(async () => {
    const body = { kind: kind.value, contact: contact.value, note: note.value };
    const { due_on: due } = await call("POST", "conversation/requests", body);
    request.reset();
    say(words("data_sent", { date: when(due, { dateStyle: "long", timeZone: "UTC" }) }));
  }, send);
}

async function askForLink(event) {
  event.preventDefault();
  const { email, send } = link.elements;
  await attempt(async () => {
    const { minutes } = await call("POST", "visitor/link", { email: email.value, language: settings.language });
    link.reset();
    say(words("data_link_sent", { minutes }));
  }, send);
}

async function download(button) {
  await attempt(async () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await openFile("conversation/export"));
    link.download = `${home.split("/").pop()}-my-data.zip`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }, button);
}

export function offerData(openDelete) {
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    if (event.target.value === "download" && event.target.matches("button")) download(event.target);
    if (event.target.value === "delete" && event.target.matches("button")) {
      dialog.close();
      openDelete();
    }
  });
  for (const box of [keep, analytics]) box.addEventListener("change", choose);
  details.addEventListener("submit", saveDetails);
  request.addEventListener("submit", sendRequest);
  link?.addEventListener("submit", askForLink);
}
