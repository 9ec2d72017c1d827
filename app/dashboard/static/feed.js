/** The newest transitions, newest first. */

import { addressButton } from "./address.js";
import { byId, el, setText, shape } from "./dom.js";
import { dateAndTime, timeOfDay } from "./format.js";
import { eventLook } from "./states.js";

/** @typedef {import("./types.js").FleetEvent} FleetEvent */

const SHOWN = 200;
/** As many as a replica replays. */
const KEPT = 1_000;

/** @type {Record<string, string>} */
const REASONS = {
  expired: "no heartbeat",
  unreachable: "nothing listens at its address",
  "signed-off": "",
  failed: "a request failed",
  misconfigured: "refuses its own key",
  registered: "new",
  returned: "back",
  resumed: "drain taken back",
  recovered: "",
  operator: "by an operator",
  sfu: "by the SFU itself",
  "breaker-open": "too many failures in a row",
  success: "a request succeeded",
  empty: "no calls left",
  deadline: "deadline passed",
  forgotten: "forgotten by an operator",
  cpu: "CPU",
};

export class Feed {
  #list = byId("events");
  #state = byId("events-state");
  /** @type {FleetEvent[]} newest last */
  #known = [];
  /** @type {FleetEvent[]} newest last */
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
    this.#waiting.push(event);
    this.#known.push(event);
    if (this.#known.length > KEPT) this.#known.shift();
  }

  /**
   * @param {string} address
   * @returns {FleetEvent[]} what happened to one SFU, newest first
   */
  of(address) {
    return this.#known.filter((event) => event.address === address).reverse();
  }

  #flush() {
    const newest = this.#waiting.slice(-SHOWN).reverse();
    this.#list.prepend(...newest.map((event) => eventItem(event, this.onOpen)));
    this.#waiting = [];
    while (this.#list.childElementCount > SHOWN) this.#list.lastElementChild?.remove();
  }
}

/**
 * @param {FleetEvent} event
 * @param {(address: string) => void} [onOpen] without it, the SFU is not named
 */
export function eventItem(event, onOpen) {
  const { tone, label } = eventLook(event);
  const time = el(
    "time",
    { dateTime: new Date(event.at).toISOString(), title: dateAndTime(event.at) },
    timeOfDay(event.at),
  );
  const reason = REASONS[event.type] ?? REASONS[event.reason] ?? event.reason;
  const item = el("li", { dataset: { tone } }, time, el("span", { className: "what" }, shape(tone), label));
  if (reason) item.append(el("span", { className: "why" }, reason));
  if (event.address && onOpen) {
    const open = addressButton(event.address);
    open.addEventListener("click", () => onOpen(event.address));
    item.append(el("span", { className: "who" }, open, event.region));
  }
  return item;
}
