/** A bar of load: what is measured, what is reserved on top of it, and the limit. */

import { el } from "./dom.js";

const percentage = (/** @type {number} */ share) => `${(Math.min(1, Math.max(0, share)) * 100).toFixed(1)}%`;

export class Bar {
  #used = el("span", { className: "used" });
  #reserved = el("span", { className: "reserved" });
  #limit = el("span", { className: "limit" });
  #last = "";

  constructor() {
    this.element = el(
      "span",
      { className: "bar", "aria-hidden": "true" },
      this.#used,
      this.#reserved,
      this.#limit,
    );
  }

  /**
   * @param {number} load
   * @param {number} reserved the part of `load` that is reserved
   * @param {number} limit
   */
  show(load, reserved, limit) {
    const now = `${load} ${reserved} ${limit}`;
    if (now === this.#last) return;
    this.#last = now;
    this.#used.style.width = percentage(load - reserved);
    this.#reserved.style.width = percentage(Math.min(reserved, 1 - load + reserved));
    this.#limit.style.left = percentage(limit);
    this.#limit.hidden = limit >= 1;
    this.element.classList.toggle("is-over", load > limit);
  }
}
