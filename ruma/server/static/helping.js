// What a visitor can do beside asking: say whether an answer helped, talk to a person, delete the conversation.

import { part, words } from "./answers.js";
import { isDataOpen, offerData, openData } from "./data.js";
import {
  askPerson, call, deleteConversation, explain, focusField, isKept, settings, startOver, tell,
} from "./talk.js";

const personDialog = document.getElementById("person");
const deleteDialog = document.getElementById("delete");
const menu = document.getElementById("menu");

// Feedback

function addFeedback(message, id, given) {
  const feedback = part("feedback");
  const thumbs = [...feedback.querySelectorAll(".thumb")];
  const comment = feedback.querySelector("form");
  const said = feedback.querySelector(".said");
  const show = (isHelpful) => {
    for (const thumb of thumbs) thumb.setAttribute("aria-pressed", String(thumb.value === String(isHelpful)));
  };
  const answer = (text) => {
    said.textContent = text;
    tell(text);
  };
  const give = async (isHelpful, text) => {
    try {
      await call("POST", "conversation/feedback", { message_id: id, is_helpful: isHelpful, comment: text });
      answer(words("thanks"));
      return true;
    } catch (error) {
      answer(explain(error).message);
      return false;
    }
  };
  if (typeof given === "boolean") show(given);
  for (const thumb of thumbs) {
    thumb.addEventListener("click", async () => {
      const isHelpful = thumb.value === "true";
      comment.hidden = true;
      if (!(await give(isHelpful, ""))) return;
      show(isHelpful);
      comment.querySelector("label").firstChild.textContent = words(isHelpful ? "praise" : "missing");
      comment.hidden = false;
      if (!isHelpful) comment.elements.comment.focus(); // who is content may just go on
    });
  }
  comment.addEventListener("submit", async (event) => {
    event.preventDefault();
    const pressed = thumbs.find((thumb) => thumb.getAttribute("aria-pressed") === "true");
    if (!(await give(pressed.value === "true", comment.elements.comment.value.trim()))) return;
    comment.hidden = true;
    pressed.focus();
  });
  message.append(feedback);
}

// A person

function offerPerson(message) {
  if (!personDialog) return;
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "button offer", textContent: words("person") });
  button.addEventListener("click", openPerson);
  message.append(button);
}

function openPerson() {
  personDialog.querySelector(".failed").textContent = "";
  personDialog.querySelector(".keeps").hidden = isKept();
  personDialog.showModal();
}

async function sendToPerson(event) {
  event.preventDefault();
  const form = event.target;
  const { name, email, message, send } = form.elements;
  send.disabled = true;
  try {
    await askPerson(name.value.trim(), email.value.trim(), message.value.trim());
    form.reset();
    personDialog.close();
    focusField();
  } catch (error) {
    const problem = explain(error);
    personDialog.querySelector(".failed").textContent = problem.message;
  } finally {
    send.disabled = false;
  }
}

// The menu, and deleting

async function deleteAll(event) {
  event.preventDefault();
  try {
    await deleteConversation();
    deleteDialog.close();
  } catch (error) {
    deleteDialog.querySelector(".failed").textContent = explain(error).message;
  }
}

function openDelete() {
  deleteDialog.querySelector(".failed").textContent = "";
  deleteDialog.showModal();
}

function closeMenu() {
  if (!menu?.open) return false;
  menu.open = false;
  menu.querySelector("summary").focus();
  return true;
}

export function isAnythingOpen() {
  return Boolean(personDialog?.open || deleteDialog?.open || menu?.open || isDataOpen());
}

export function offerHelp() {
  settings.whenDone = (message, answer, id) => {
    if (id) addFeedback(message, id, answer.is_helpful);
    if (answer.is_declined) offerPerson(message);
  };
  personDialog?.querySelector("form").addEventListener("submit", sendToPerson);
  deleteDialog?.querySelector("form").addEventListener("submit", deleteAll);
  for (const dialog of [personDialog, deleteDialog]) {
    dialog?.querySelector(".cancel").addEventListener("click", () => dialog.close());
    dialog?.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
  const actions = {
    person: openPerson,
    again: startOver,
    data: openData,
    delete: openDelete,
  };
  offerData(openDelete);
  menu?.addEventListener("click", (event) => {
    const action = event.target.closest("button")?.value;
    if (!action) return;
    menu.open = false;
    actions[action]();
  });
  menu?.addEventListener("keydown", (event) => { if (event.key === "Escape" && closeMenu()) event.stopPropagation(); });
  document.addEventListener("click", (event) => { if (menu?.open && !menu.contains(event.target)) menu.open = false; });
}
