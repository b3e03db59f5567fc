// A button and a chat in a frame of its own, for a business's website. Nothing is stored or asked for before the
// button is pressed, and all styles come through the CSSOM, so a strict content security policy may stay strict.

((config) => {
  const { origin, address, websites, position, theme, colours, title, words } = config;
  if (document.querySelector("ruma-widget")) return;
  if (!websites.includes(location.origin)) {
    console.warn(
      `Ruma: the website ${location.origin} is not allowed to show this agent. A member can add exactly this line ` +
        `to the allowed websites, under “Agent” at ${address}/agent: ${location.origin}` +
        (location.origin === "null" ? " - but not for a page that was opened as a file: serve it at an address first." : ""),
    );
    return;
  }

  const script = document.querySelector(`script[src="${address}/widget.js"]`);
  const asked = script?.dataset.lang || document.documentElement.lang || navigator.language || "";
  const code = asked.toLowerCase().split("-")[0];
  const language = Object.hasOwn(words, code) ? code : config.language;
  const [open, close] = words[language];
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  const isSmall = matchMedia("(max-width: 480px), (max-height: 420px)");

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const draw = (kind, path) => {
    const [svg, line] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: kind, "aria-hidden": "true" })) svg.setAttribute(key, value);
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  };

  const style = new CSSStyleSheet();
  style.replaceSync(`
    :host { all: initial; position: static; }
    [hidden] { display: none !important; }
    button, .panel { position: fixed; z-index: 2147483000; box-sizing: border-box; ${position}: max(20px, env(safe-area-inset-${position})); }
    button { bottom: max(20px, env(safe-area-inset-bottom)); display: grid; place-items: center; width: 60px; height: 60px; margin: 0;
      padding: 0; border: 0; border-radius: 50%; background: var(--fill); color: var(--on-fill); cursor: pointer;
      box-shadow: 0 0 0 1px rgb(255 255 255 / 35%), 0 2px 6px rgb(0 0 0 / 18%), 0 8px 28px rgb(0 0 0 / 22%);
      transition: background-color .15s, transform .15s; -webkit-tap-highlight-color: transparent; }
    button:hover { background: var(--strong); transform: scale(1.04); }
    button:focus-visible { outline: 3px solid #fff; outline-offset: 0; box-shadow: 0 0 0 6px #1b1b1b; }
    svg { grid-area: 1 / 1; width: 28px; height: 28px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round;
      stroke-linejoin: round; transition: opacity .15s, transform .15s; }
    .x, [aria-expanded=true] .bubble { opacity: 0; transform: scale(.6) rotate(-30deg); }
    [aria-expanded=true] .x { opacity: 1; transform: none; }
    dialog { inset: auto; max-width: none; max-height: none; margin: 0; padding: 0; border: 0; }
    .panel { bottom: calc(max(20px, env(safe-area-inset-bottom)) + 76px); width: min(400px, calc(100vw - 40px));
      height: min(660px, calc(100vh - 116px)); height: min(660px, calc(100dvh - 116px)); overflow: hidden; border-radius: 18px; background: var(--page);
      box-shadow: 0 0 0 1px rgb(0 0 0 / 9%), 0 4px 12px rgb(0 0 0 / 10%), 0 18px 60px rgb(0 0 0 / 24%); animation: rise .2s ease-out; }
    iframe { display: block; width: 100%; height: 100%; border: 0; }
    @keyframes rise { from { opacity: 0; transform: translateY(12px); } }
    @media (max-width: 480px), (max-height: 420px) {
      .panel { inset: 0; width: 100%; height: 100%; border-radius: 0; box-shadow: none; }
      [aria-expanded=true] { visibility: hidden; }
    }
    @media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
    @media print { button, .panel { display: none; } }
  `);

  const button = make("button", { type: "button", "aria-label": open, "aria-expanded": "false", "aria-controls": "panel", title: open });
  button.append(draw("bubble", "M20 11.5a7.5 7.5 0 0 1-7.5 7.5H5l1.7-2.6A7.5 7.5 0 1 1 20 11.5z"), draw("x", "M6 6l12 12M18 6 6 18"));
  const panel = make("dialog", { id: "panel", class: "panel", "aria-label": title[language] });
  const widget = make("ruma-widget", { lang: language });
  // Whatever the website's styles say of everything in its body.
  widget.style.setProperty("all", "initial", "important");
  const root = widget.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [style];
  root.append(button, panel);
  let frame = null;

  const paint = () => {
    const [fill, strong, on, page] = colours[theme === "dark" || (theme === "auto" && isDark.matches) ? 1 : 0];
    for (const [name, value] of [["fill", fill], ["strong", strong], ["on-fill", on], ["page", page]]) {
      widget.style.setProperty(`--${name}`, value);
    }
  };
  // On a phone the keyboard covers the lower half; the frame takes what is left, so its field stays in sight.
  const fit = () => {
    const seen = window.visualViewport;
    const isCut = seen && isSmall.matches && seen.scale === 1;
    panel.style.top = isCut ? `${seen.offsetTop}px` : "";
    panel.style.height = isCut ? `${seen.height}px` : "";
  };
  const tell = (word) => frame.contentWindow?.postMessage(word, origin);
  const load = (word) => {
    frame = make("iframe", {
      title: title[language],
      allow: "",
      sandbox: "allow-scripts allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads",
    });
    frame.addEventListener("load", () => { if (panel.open) tell(word); });
    frame.src = `${address}/widget?lang=${language}`;
    panel.append(frame);
  };
  // A chat that opens by itself leaves the focus where it is.
  const show = (isAsked = true) => {
    const word = isAsked ? "ruma:open" : "ruma:show";
    place();
    name(true);
    if (!frame) load(word);
    else tell(word);
    if (isAsked) frame.focus({ preventScroll: true });
  };
  // On a phone it covers the page, so neither the keyboard nor a screen reader may get behind it.
  const place = () => {
    if (isSmall.matches) panel.showModal();
    else panel.setAttribute("open", "");
    fit();
  };
  const name = (isOpen) => {
    button.setAttribute("aria-expanded", String(isOpen));
    for (const attribute of ["aria-label", "title"]) button.setAttribute(attribute, isOpen ? close : open);
  };

  button.addEventListener("click", () => { if (panel.open) panel.close(); else show(); });
  panel.addEventListener("close", () => {
    if (panel.open) return;
    name(false);
    tell("ruma:hide");
    button.focus({ preventScroll: true });
  });
  isSmall.addEventListener("change", () => {
    if (!panel.open) return;
    panel.close();
    place();
  });
  root.addEventListener("keydown", (event) => { if (event.key === "Escape" && panel.open) panel.close(); });
  window.addEventListener("message", (event) => {
    const isOurs = frame !== null && event.source === frame.contentWindow && event.origin === origin;
    if (isOurs && event.data === "ruma:close" && panel.open) panel.close();
  });
  isDark.addEventListener("change", paint);
  for (const kind of ["resize", "scroll"]) window.visualViewport?.addEventListener(kind, fit);
  paint();
  const add = () => {
    document.body.append(widget);
    if (script?.hasAttribute("data-open") && !isSmall.matches) show(false);
  };
  if (document.body) add();
  else document.addEventListener("DOMContentLoaded", add);
})("CONFIG");
