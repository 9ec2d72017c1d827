/** What is known of one SFU, line by line. */

import { el, setText } from "./dom.js";
import { count, dateAndTime, duration, load, percent, plural } from "./format.js";
import { isEjectedForTime, isLiving, missedHeartbeats, overloadedBy } from "./states.js";

/** @typedef {import("./types.js").Sfu} Sfu */
/** @typedef {import("./types.js").Limits} Limits */

/** Texts by name, in order; an empty one is left out. @type {[string, (sfu: Sfu, limits: Limits, ageMs: number) => string][]} */
const FACTS = [
  ["Region", (sfu) => sfu.region],
  ["Last error", lastError],
  ["Load", loadByTerms],
  ["Sessions", sessions],
  ["Channels", (sfu) => count(sfu.channels)],
  ["CPU, memory", usage],
  ["Heartbeat", heartbeat],
  ["Ejection", ejection],
  ["Address", (sfu) => (sfu.sharedAddress ? "Two processes report under it in turn: one name hides two SFUs." : "")],
  ["Set-up", (sfu) => sfu.warnings.join(", ").replaceAll("_", " ")],
  ["Drain deadline", (sfu) => (sfu.drainUntil ? dateAndTime(sfu.drainUntil) : "")],
  ["Calls", moves],
  ["Gone since", (sfu) => (sfu.downAt ? dateAndTime(sfu.downAt) : "")],
  ["Registered", (sfu) => (sfu.registeredAt ? dateAndTime(sfu.registeredAt) : "")],
  ["Public URL", (sfu) => sfu.publicUrl],
];

export class Facts {
  #lines = FACTS.map(([name, text]) => {
    const value = el("dd");
    return { text, value, line: el("div", { hidden: true }, el("dt", {}, name), value) };
  });
  element = el("dl", { className: "facts" }, ...this.#lines.map(({ line }) => line));

  /**
   * @param {Sfu | undefined} sfu
   * @param {Limits} limits
   * @param {number} ageMs of the data
   */
  show(sfu, limits, ageMs) {
    for (const { text, value, line } of this.#lines) {
      setText(value, sfu ? text(sfu, limits, ageMs) : "");
      line.hidden = value.textContent === "";
    }
  }
}

/**
 * @param {Sfu} sfu
 * @param {Limits} _
 * @param {number} ageMs
 */
function lastError(sfu, _, ageMs) {
  if (!sfu.lastError) return "";
  const times = sfu.errors ? `, ${plural(sfu.errors, "error")} since its last success` : ", it has succeeded since";
  return `It ${sfu.lastError}, ${duration(sfu.lastErrorAgoMs + ageMs)} ago${times}.`;
}

/** @param {Sfu} sfu */
function loadByTerms(sfu) {
  const [bySessions, cpu, memory] = sfu.terms;
  return `${load(sfu.load)} = ${load(bySessions)} sessions + ${load(cpu)} CPU + ${load(memory)} memory`;
}

/** @param {Sfu} sfu */
function sessions(sfu) {
  return `${count(sfu.sessions)} of ${count(sfu.maxSessions)}, ${sfu.reserved.toFixed(1)} reserved`;
}

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 */
function usage(sfu, limits) {
  const cause = overloadedBy(sfu);
  const cpu = percent(sfu.cpu) + (cause === "cpu" ? ` (limit ${percent(limits.maxCpu)})` : "");
  return `${cpu}, ${percent(sfu.memory)}${cause === "memory" ? ` (limit ${percent(limits.maxMemory)})` : ""}`;
}

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 * @param {number} ageMs
 */
function heartbeat(sfu, limits, ageMs) {
  const missed = isLiving(sfu) ? missedHeartbeats(sfu, limits) : 0;
  return `${duration(sfu.heartbeatAgeMs + ageMs)} ago${missed ? `, ${missed} missed` : ""}`;
}

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 * @param {number} ageMs
 */
function ejection(sfu, limits, ageMs) {
  if (!isEjectedForTime(sfu, limits)) return "";
  return `for another ${duration(sfu.ejectedForMs - ageMs)}, ejected ${plural(sfu.ejections, "time")} of late`;
}

/** @param {Sfu} sfu */
function moves(sfu) {
  if (!sfu.moves) return "";
  const { moved, left, kept, failed } = sfu.moves;
  return `${count(moved)} moved, ${count(left)} left, ${count(kept)} kept, ${count(failed)} failed`;
}
