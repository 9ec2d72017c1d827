/** One SFU in the table. It changes only the cells whose text has changed. */

import { addressButton } from "./address.js";
import { Bar } from "./bar.js";
import { el, setShape, setText, shape } from "./dom.js";
import { count, duration, load, percent } from "./format.js";
import { isLiving, LATE, look, missedHeartbeats, overloadedBy, reasonText } from "./states.js";

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
  ["Reason", "reason"],
];

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
    for (const [title, name] of COLUMNS) {
      this.#cells[name] = el("td", { className: `c-${name}`, role: "cell", dataset: { title } });
    }
    this.#cells.state.append(this.#shape, this.#label);
    this.#cells.address.append(addressButton(sfu.address));
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
    this.element.classList.toggle("is-gone", !isLiving(sfu));
    setShape(this.#shape, tone);
    setText(this.#label, label);
    this.#bar.show(sfu.load, sfu.reservedLoad, limits.maxLoad);
    setText(this.#loadText, load(sfu.load));
    this.#cells.load.title = loadTitle(sfu, limits);
    setText(this.#cells.sessions, sessions(sfu));
    setText(this.#cells.channels, count(sfu.channels));
    setText(this.#cells.cpu, percent(sfu.cpu));
    setText(this.#cells.memory, percent(sfu.memory));
    for (const figure of ["load", "sessions", "cpu", "memory"]) {
      this.#cells[figure].classList.toggle("is-cause", figure === overloadedBy(sfu));
    }
  }

  /**
   * Show what time alone changes.
   *
   * @param {number} ageMs of the data
   * @param {Limits} limits
   */
  tick(ageMs, limits) {
    const missed = isLiving(this.sfu) ? missedHeartbeats(this.sfu, limits) : 0;
    const age = duration(this.sfu.heartbeatAgeMs + ageMs);
    setText(this.#cells.heartbeat, missed ? `${age}, ${missed} missed` : age);
    this.#cells.heartbeat.classList.toggle("is-late", missed >= LATE);
    const reason = reasonText(this.sfu, ageMs, limits);
    setText(this.#cells.reason, reason);
    if (this.#cells.reason.title !== reason) this.#cells.reason.title = reason;
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
  if (!isLiving(sfu)) return "Its last figures";
  const measured = load(sfu.load - sfu.reservedLoad);
  return `${measured} measured, ${load(sfu.reservedLoad)} reserved; limit ${limits.maxLoad}`;
}
