/** A button that copies a text. It works without HTTPS too, where browsers give no clipboard. */

import { byId, el, setText } from "./dom.js";

const SHOWN_MS = 2_000;

/**
 * @param {() => string} text what to copy
 * @param {string} what it is, for screen readers
 */
export function copyButton(text, what) {
  const button = el("button", { type: "button", className: "quiet copy", "aria-label": `Copy ${what}` }, "Copy");
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    const isDone = await copy(text(), button);
    setText(button, isDone ? "Copied" : "Not copied");
    setText(byId("announcer"), isDone ? `Copied ${what}.` : "The browser does not let this page copy.");
    setTimeout(() => setText(button, "Copy"), SHOWN_MS);
  });
  return button;
}

/**
 * @param {string} text
 * @param {HTMLElement} button beside which a field may stand for a moment: nothing outside an open dialog has focus
 */
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = el("textarea", { value: text, className: "sr-only", readOnly: true });
    button.after(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    button.focus();
    return isDone;
  }
}
