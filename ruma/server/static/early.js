// Loaded before the page's content, and kept small for that. A form that is sent before htmx has come waits for it:
// the browser alone would send it without the mark of our own pages, and without the question that guards it.
// In a block, because plain scripts share their names.
{
  let held = null;
  const hold = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    held = { form: event.target, button: event.submitter };
  };
  const goOn = () => {
    window.removeEventListener("submit", hold, true);
    if (held?.form.isConnected) held.form.requestSubmit(held.button);
    held = null;
  };
  window.addEventListener("submit", hold, true);
  document.addEventListener("htmx:load", goOn, { once: true });
  window.addEventListener("load", goOn, { once: true });
}
