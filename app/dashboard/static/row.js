/** One SFU in the table. It changes only the cells whose text has changed. */

import { Bar } from "./bar.js";
import { el, setShape, setText, shape } from "./dom.js";
import { count, duration, load, percent } from "./format.js";
import { look } from "./states.js";

/** @typedef {import("./types.js").Sfu} Sfu */
/** @typedef {import("./types.js").Limits} Limits */

/** Names and classes of the columns; roles are given because narrow screens lay the table out as cards. */
export const COLUMNS = [
  ["State", "state"],
  ["SFU", "address"],
  ["Load", "load"],
  ["Sessions", "sessions"],
  ["Channels", "channels"],
  ["CPU", "cpu"],
  ["Memory", "memory"],
  ["Heartbeat", "heartbeat"],
  ["Breaker", "breaker"],
];

/**
 * @param {Sfu} sfu
 * @returns {string} without the scheme, which says little and costs room
 */
export const shortAddress = (sfu) => sfu.address.replace(/^https?:\/\//, "");

export class Row {
  #bar = new Bar();
  #shape = shape("off");
  #label = el("span");
  #loadText = el("span", { className: "value" });
  /** @type {Record<string, HTMLTableCellElement>} */
  #cells = {};

  /**
   * @param {Sfu} sfu
   * @param {(address: string) => void} onOpen
   */
  constructor(sfu, onOpen) {
    this.sfu = sfu;
    const open = el("button", { type: "button", className: "link", textContent: shortAddress(sfu) });
    open.title = sfu.address;
    for (const [title, name] of COLUMNS) {
      this.#cells[name] = el("td", { className: `c-${name}`, role: "cell", dataset: { title } });
    }
    this.#cells.state.append(this.#shape, this.#label);
    this.#cells.address.append(open);
    this.#cells.load.append(this.#bar.element, this.#loadText);
    this.element = el(
      "tr",
      { role: "row", dataset: { address: sfu.address } },
      ...Object.values(this.#cells),
    );
    this.element.addEventListener("click", () => onOpen(this.sfu.address));
  }

  /**
   * @param {Sfu} sfu
   * @param {Limits} limits
   */
  show(sfu, limits) {
    this.sfu = sfu;
    const { tone, label } = look(sfu);
    if (this.element.dataset.tone !== tone) this.element.dataset.tone = tone;
    setShape(this.#shape, tone);
    setText(this.#label, label);
    const isDown = sfu.state === "down";
    this.#bar.show(sfu.load, sfu.reservedLoad, limits.maxLoad);
    setText(this.#loadText, isDown ? "" : load(sfu.load));
    this.#cells.load.title = isDown ? "" : loadTitle(sfu, limits);
    setText(this.#cells.sessions, isDown ? "" : sessions(sfu));
    setText(this.#cells.channels, isDown ? "" : count(sfu.channels));
    setText(this.#cells.cpu, isDown ? "" : percent(sfu.cpu));
    setText(this.#cells.memory, isDown ? "" : percent(sfu.memory));
  }

  /**
   * Show what time alone changes.
   *
   * @param {number} ageMs of the data
   * @param {Limits} limits
   */
  tick(ageMs, limits) {
    const age = this.sfu.heartbeatAgeMs + ageMs;
    const isLate = this.sfu.state !== "down" && age > 2 * limits.pingMs;
    setText(this.#cells.heartbeat, `${duration(age)}${isLate ? " late" : ""}`);
    this.#cells.heartbeat.classList.toggle("is-late", isLate);
    setText(this.#cells.breaker, breakerText(this.sfu, ageMs));
  }
}

/** @param {Sfu} sfu */
function sessions(sfu) {
  const reserved = Math.round(sfu.reserved);
  return `${count(sfu.sessions)}${reserved ? ` +${count(reserved)}` : ""} / ${count(sfu.maxSessions)}`;
}

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 */
function loadTitle(sfu, limits) {
  const measured = load(sfu.load - sfu.reservedLoad);
  return `${measured} measured, ${load(sfu.reservedLoad)} reserved; limit ${limits.maxLoad}`;
}

/**
 * @param {Sfu} sfu
 * @param {number} ageMs
 */
export function breakerText(sfu, ageMs) {
  if (sfu.state === "down" && sfu.breaker === "closed") return "";
  if (sfu.breaker === "open") {
    const left = sfu.openForMs - ageMs;
    return left > 0 ? `open, ${duration(left)}` : "open, probing";
  }
  if (sfu.breaker === "half-open") return "half-open";
  return sfu.failures ? `closed, ${sfu.failures} failed` : "closed";
}
