/** The keys that work anywhere on the page, and the dialog that lists them: `/` and `?`. */

import { byId } from "./dom.js";

/** @param {(view: string) => void} showView */
export function offerKeys(showView) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("help"));
  const open = () => dialog.open || dialog.showModal();
  byId("help-open").addEventListener("click", open);
  byId("help-close").addEventListener("click", () => dialog.close());
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof Element && event.target.closest("input, select, textarea");
    const isBusy = document.querySelector("dialog:modal") !== null;
    if (isTyping || isBusy || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") {
      event.preventDefault();
      showView("fleet");
      byId("search").focus();
    } else if (event.key === "?") open();
  });
}
