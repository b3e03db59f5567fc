// The preview on the page of the agent follows the form: the frame is told what the fields hold, and shows it.

function valuesOf(form) {
  const field = (name) => form.elements[name]?.value ?? "";
  return {
    accent: field("accent"),
    theme: field("theme"),
    name: field("name"),
    greeting: field("greeting"),
    questions: field("questions").split("\n").map((one) => one.trim()).filter(Boolean),
  };
}

function show(form) {
  const frame = document.getElementById(form.dataset.preview);
  frame?.contentWindow?.postMessage(valuesOf(form), location.origin);
  frame?.parentElement.classList.toggle("on-left", form.elements.position?.value === "left");
  frame?.parentElement.style.setProperty("--chosen", form.elements.accent?.value ?? "");
}

for (const kind of ["input", "change"]) {
  document.addEventListener(kind, (event) => {
    const form = event.target.closest?.("form[data-preview]");
    if (form) show(form);
  });
}

// A frame's load event does not rise, but it can be caught on its way down.
document.addEventListener("load", (event) => {
  const form = event.target.id && document.querySelector(`form[data-preview="${event.target.id}"]`);
  if (form) show(form);
}, true);
document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll("form[data-preview]")) show(form);
});
