// "Copy as CLI" and "Copy as Python" on every view: what the server says gives the same figures elsewhere.
import { element } from "/static/dom.js";

const IMPORT = "import joulemill as jm\n\n";
const held = new Map();
let narrate = () => {};

// `shown` hears the text that could not be copied: a browser without a clipboard still shows it.
export function listenCopies(shown) {
  narrate = shown;
  for (const box of document.querySelectorAll("[data-copies]")) {
    const said = element("span", "quiet small");
    said.setAttribute("role", "status");
    box.replaceChildren(...["CLI", "Python"].map((kind) => {
      const button = element("button", "", `Copy as ${kind}`);
      button.type = "button";
      button.disabled = true;
      button.dataset.kind = kind.toLowerCase();
      button.setAttribute("aria-label", `Copy as ${kind}: ${box.dataset.title}`);
      button.addEventListener("click", () => copy(textOf(box.dataset.copies, button.dataset.kind), kind, said));
      return button;
    }), said);
  }
}

// The texts of a view, one for each deployment that it shows.
export function hold(view, copies) {
  held.set(view, copies.filter(Boolean));
  for (const button of document.querySelectorAll(`[data-copies="${view}"] button`)) button.disabled = !held.get(view).length;
}

export function textOf(view, kind) {
  const texts = (held.get(view) || []).map((c) => c[kind]);
  return kind === "cli" ? texts.join("\n\n") : texts.map((t, i) => (i ? t.replace(IMPORT, "") : t)).join("\n\n");
}

export function copy(text, what, said) {
  const instead = () => { said.textContent = "select the text under “Take it with you”"; narrate(text); };
  if (!navigator.clipboard) { instead(); return; }
  navigator.clipboard.writeText(text).then(() => { said.textContent = `${what} copied`; }, instead);
}
