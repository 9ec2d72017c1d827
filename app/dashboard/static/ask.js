/** Asking back before something is changed, and asking for the admin token where there is none yet. */

import { Problem, token } from "./api.js";
import { byId, el, setText } from "./dom.js";

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {string} text what will happen
 * @property {string} confirm the button's words
 * @property {boolean} [isDangerous]
 * @property {HTMLElement[]} [fields] to fill in
 * @property {() => Promise<void>} run what to do; a `Problem` is shown and leaves the question open
 */

const dialog = /** @type {HTMLDialogElement} */ (byId("ask"));

/**
 * Ask, and run what was asked for once it is confirmed and allowed.
 *
 * @param {Question} question
 */
export function ask(question) {
  const error = el("p", { className: "error", role: "alert", hidden: true });
  const secret = el("input", {
    type: "password",
    name: "token",
    autocomplete: "off",
    required: true,
    spellcheck: false,
  });
  const secretField = el("label", { hidden: token.get() !== "" }, "Admin token", secret);
  secretField.append(el("small", {}, "Kept in this tab until you close it."));
  const cancel = el("button", { type: "button", className: "quiet" }, "Cancel");
  const confirm = el(
    "button",
    { type: "submit", className: question.isDangerous ? "danger" : "primary" },
    question.confirm,
  );
  const form = el(
    "form",
    { noValidate: true },
    el("h2", { id: "ask-title" }, question.title),
    el("p", {}, question.text),
    ...(question.fields ?? []),
    secretField,
    error,
    el("div", { className: "buttons" }, cancel, confirm),
  );

  /** @param {string} text */
  const complain = (text) => {
    setText(error, text);
    error.hidden = false;
  };

  cancel.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!secretField.hidden) {
      if (!secret.value.trim()) {
        secret.focus();
        return complain("Enter the admin token.");
      }
      token.set(secret.value.trim());
    }
    confirm.disabled = true;
    try {
      await question.run();
      dialog.close();
    } catch (problem) {
      complain(problem instanceof Problem ? problem.message : String(problem));
      if (problem instanceof Problem && problem.status === 401) {
        token.forget();
        secretField.hidden = false;
        secret.select();
      }
    }
    confirm.disabled = false;
  });

  dialog.replaceChildren(form);
  dialog.showModal();
  (secretField.hidden ? confirm : secret).focus();
}
