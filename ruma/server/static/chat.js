// The chat page. Without scripts its plain form works too.

import { isAnythingOpen, offerHelp } from "./helping.js";
import { endPassing, focusField, forget, isBusy, listen, restore, stopAnswer } from "./talk.js";

listen();
offerHelp();
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && isBusy() && !isAnythingOpen()) stopAnswer();
});
document.getElementById("again").addEventListener("click", () => {
  endPassing();
  forget();
});
await restore();
document.body.dataset.ready = "";
focusField();
