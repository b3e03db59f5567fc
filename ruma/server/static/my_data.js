// The page that a one-time link opens: everything with an e-mail address that its owner has proven.
// The secrets are in this page's memory alone. The link's is taken out of the address before anything else happens,
// and used only when the visitor says so: programs that look into mails open links, too.

import { home, words } from "./answers.js";

const linkForm = document.getElementById("link");
const openForm = document.getElementById("open");
const all = document.getElementById("all");
const list = document.getElementById("conversations");
const asked = document.getElementById("asked");
const told = document.querySelector(".told");
const failed = document.querySelector(".failed");
const receipt = document.querySelector(".receipt");
const sure = document.getElementById("sure");
const language = document.documentElement.lang;
const link = location.hash.slice(1);

let visit = null; // what reaches the conversations: { secret, email, minutes }
let lastReceipt = "";

function when(text, style = { dateStyle: "medium", timeStyle: "short" }) {
  return new Intl.DateTimeFormat(language, style).format(new Date(text));
}

class Failed extends Error {}

function explain(code, message) {
  if (code === "not_found") return words("data_link_over");
  if (code === "too_many") return words("problem_too_many");
  if (code === "held") return words("problem_held");
  return language === "en" && code === "bad_request" ? message : words("problem");
}

async function send(method, path, body) {
  const headers = {};
  if (visit) headers["X-Ruma-Visitor"] = visit.secret;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(`${home}/api/visitor/${path}`, { method, headers, body: body && JSON.stringify(body) })
    .catch(() => { throw new Failed(words("unreachable")); });
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({ error: {} }));
    throw new Failed(explain(error.code, error.message));
  }
  return response;
}

// Does what may fail, and says so; the button waits for it.
async function attempt(button, work) {
  told.textContent = failed.textContent = "";
  if (button) button.disabled = true;
  try {
    await work();
  } catch (error) {
    failed.textContent = error instanceof Failed ? error.message : words("problem");
  } finally {
    if (button) button.disabled = false;
  }
}

function save(content, name, type) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(new Blob([content], { type }));
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}

function isSure(text) {
  sure.querySelector("h2").textContent = text;
  sure.returnValue = "no";
  sure.showModal();
  return new Promise((resolve) => {
    sure.addEventListener("close", () => resolve(sure.returnValue === "yes"), { once: true });
  });
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function factsOf(one) {
  const rows = [
    ["data_began", when(one.started_at)], ["data_last", when(one.last_at)], ["data_messages", one.messages],
    ["data_opinions", one.opinions], ["data_website", one.website], ["data_language", one.language],
    ["data_name", one.name], ["data_email", one.email],
    ["data_kept", one.consent.is_kept ? words("data_days", { days: one.kept_days }) : words("data_passing", { left: one.left_minutes, minutes: one.passing_minutes })],
  ];
  const shown = rows.filter(([, value]) => value !== "" && value !== 0);
  const made = one.consent.choices.map((choice) => [when(choice.at), `${choice.is_given ? "✓" : "✗"} ${choice.words}`]);
  return [...shown.map(([name, value]) => [words(name), value]), ...made]
    .flatMap(([name, value]) => [element("dt", name), element("dd", value)]);
}

function heard({ role, author, text }) {
  if (role === "visitor") return words("asked");
  return role === "person" ? words("wrote", { name: author }) : words("answered", { name: document.body.dataset.agent });
}

async function showMessages(one, place) {
  if (place.childElementCount) return;
  const { messages } = await (await send("GET", `conversations/${one.id}`)).json();
  for (const said of messages) {
    const text = said.text || said.citations.map((cited) => cited.quote ?? "").join("\n");
    place.append(element("h3", heard(said)), element("p", text, "words"));
  }
}

function showOne(one) {
  const card = document.getElementById("own-conversation").content.firstElementChild.cloneNode(true);
  const details = card.querySelector(".details");
  const said = card.querySelector(".heard");
  card.querySelector(".facts").append(...factsOf(one));
  details.elements.name.value = one.name;
  details.elements.email.value = one.email;
  said.addEventListener("toggle", () => {
    if (said.open) attempt(null, () => showMessages(one, said.querySelector(".messages")));
  });
  details.addEventListener("submit", (event) => {
    event.preventDefault();
    const { name, email, send: button } = details.elements;
    attempt(button, async () => {
      await send("PATCH", `conversations/${one.id}/details`, { name: name.value, email: email.value });
      const isMoved = email.value.trim().toLowerCase() !== visit.email;
      await refresh();
      told.textContent = words(isMoved ? "data_moved" : "data_saved");
    });
  });
  card.querySelector("[value=delete]").addEventListener("click", async (event) => {
    if (!(await isSure(words("delete_sure")))) return;
    await attempt(event.target, async () => showErased(await (await send("DELETE", `conversations/${one.id}`)).json()));
  });
  return card;
}

async function showErased(erased) {
  lastReceipt = erased.page;
  receipt.hidden = !lastReceipt;
  // With the last conversation the visit ends, too.
  await refresh().catch(() => { all.hidden = true; });
  told.textContent = words("data_erased");
  told.scrollIntoView({ block: "nearest" });
}

function showRequest(one) {
  const state = { open: words("data_due", { date: when(one.due_on, { dateStyle: "long", timeZone: "UTC" }) }), done: words("data_answered"), refused: words("data_refused") };
  const item = element("li", `${when(one.received_on, { dateStyle: "medium", timeZone: "UTC" })}: ${words(`kind_${one.kind}`)}. `);
  item.append(element("span", state[one.state], "soft"));
  return item;
}

async function refresh() {
  const { email, conversations, requests } = await (await send("GET", "data")).json();
  all.hidden = false;
  all.querySelector("h2").textContent = words("data_of", { email });
  all.querySelector(".visit").textContent = conversations.length ? words("data_visit", { minutes: visit.minutes }) : words("data_none");
  all.querySelector(".actions").hidden = !conversations.length;
  list.replaceChildren(...conversations.reverse().map(showOne));
  asked.hidden = !requests.length;
  asked.querySelector("ul").replaceChildren(...requests.map(showRequest));
}

function askForLink(event) {
  event.preventDefault();
  const { email, send: button } = linkForm.elements;
  attempt(button, async () => {
    const { minutes } = await (await send("POST", "link", { email: email.value, language })).json();
    linkForm.reset();
    told.textContent = words("data_link_sent", { minutes });
  });
}

function openLink(event) {
  event.preventDefault();
  attempt(openForm.elements.send, async () => {
    const opened = await send("POST", "link/opening", { secret: link }).catch((error) => {
      showForm(linkForm);
      throw error;
    });
    visit = await opened.json();
    openForm.hidden = true;
    await refresh();
  });
}

function showForm(form) {
  for (const one of [linkForm, openForm]) if (one) one.hidden = one !== form;
}

history.replaceState(null, "", location.pathname);
showForm(link ? openForm : linkForm);
linkForm?.addEventListener("submit", askForLink);
openForm.addEventListener("submit", openLink);
all.querySelector("[value=download]").addEventListener("click", (event) => attempt(event.target, async () => {
  save(await (await send("GET", "export")).blob(), `${home.split("/").pop()}-my-data.zip`, "application/zip");
}));
all.querySelector("[value=delete-all]").addEventListener("click", async (event) => {
  if (!(await isSure(words("data_delete_all_sure")))) return;
  await attempt(event.target, async () => showErased(await (await send("DELETE", "data")).json()));
});
receipt.querySelector("button").addEventListener("click", () => save(lastReceipt, "receipt.html", "text/html"));
// A second link that is opened in this tab changes the part behind the # alone.
addEventListener("hashchange", () => location.reload());
document.body.dataset.ready = "";
