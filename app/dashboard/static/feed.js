/** The newest transitions, newest first. */

import { byId, el, setText, shape } from "./dom.js";
import { dateAndTime, timeOfDay } from "./format.js";
import { eventLook } from "./states.js";

/** @typedef {import("./types.js").FleetEvent} FleetEvent */

const KEPT = 200;

/** @type {Record<string, string>} */
const REASONS = {
  expired: "no heartbeat",
  "signed-off": "",
  failed: "a request failed",
  registered: "new",
  returned: "back",
  operator: "by an operator",
  sfu: "by the SFU itself",
  failures: "too many failures",
  success: "a request succeeded",
  empty: "no calls left",
  deadline: "deadline passed",
  forgotten: "forgotten by an operator",
};

export class Feed {
  #list = byId("events");
  #state = byId("events-state");
  /** @type {HTMLElement[]} */
  #waiting = [];

  /** @param {(address: string) => void} onOpen */
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.showState("connecting");
  }

  /** @param {string} text */
  showState(text) {
    setText(this.#state, text);
  }

  /**
   * Add an event; many of one moment are put into the page together.
   *
   * @param {FleetEvent} event
   */
  add(event) {
    if (this.#waiting.length === 0) setTimeout(() => this.#flush(), 50);
    this.#waiting.push(this.#item(event));
    if (this.#waiting.length > KEPT) this.#waiting.shift();
  }

  #flush() {
    this.#list.prepend(...this.#waiting.reverse());
    this.#waiting = [];
    while (this.#list.childElementCount > KEPT) this.#list.lastElementChild?.remove();
  }

  /** @param {FleetEvent} event */
  #item(event) {
    const { tone, label } = eventLook(event);
    const at = new Date(event.at);
    const time = el(
      "time",
      { dateTime: at.toISOString(), title: dateAndTime(event.at) },
      timeOfDay(event.at),
    );
    const reason = REASONS[event.reason] ?? event.reason;
    const what = el("span", { className: "what" }, shape(tone), label);
    const item = el("li", { dataset: { tone } }, time, what);
    if (reason) item.append(el("span", { className: "why" }, reason));
    if (event.address) {
      const open = el(
        "button",
        { type: "button", className: "link" },
        event.address.replace(/^https?:\/\//, ""),
      );
      open.title = event.address;
      open.addEventListener("click", () => this.onOpen(event.address));
      item.append(el("span", { className: "who" }, open, event.region));
    }
    return item;
  }
}
