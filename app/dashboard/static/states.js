/** What an SFU's state means: its colour and shape, its name, and a sentence for people. */

import { duration, load, percent, plural, timeOfDay } from "./format.js";

/** @typedef {import("./types.js").Sfu} Sfu */
/** @typedef {import("./types.js").Limits} Limits */
/** @typedef {import("./types.js").Tone} Tone */
/** @typedef {{tone: Tone, label: string}} Look */

/** @type {Record<string, Look>} */
const LOOKS = {
  selectable: { tone: "ok", label: "Selectable" },
  draining: { tone: "drain", label: "Draining" },
  drained: { tone: "drain", label: "Drained" },
  "half-open": { tone: "warn", label: "Half-open" },
  full: { tone: "warn", label: "Full" },
  overloaded: { tone: "warn", label: "Overloaded" },
  ejected: { tone: "bad", label: "Ejected" },
  expired: { tone: "bad", label: "Expired" },
  lost: { tone: "bad", label: "Lost" },
  "signed-off": { tone: "off", label: "Signed off" },
};

/** Tones by how soon somebody should look. @type {Tone[]} */
export const TONES = ["bad", "warn", "drain", "ok", "off"];

/** So many heartbeats in a row are late at least. One is missed where a packet is lost. */
export const LATE = 2;

/**
 * @param {Sfu} sfu
 * @returns {Look}
 */
export const look = (sfu) => LOOKS[sfu.state] ?? { tone: "warn", label: sfu.state };

/**
 * @param {Tone} tone
 * @returns {number} small for what is urgent
 */
export const urgency = (tone) => TONES.indexOf(tone);

/**
 * @param {Sfu} sfu
 * @returns {boolean} whether it reports; the figures of the others are their last
 */
export const isLiving = (sfu) => sfu.status !== "down";

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 * @returns {number} heartbeats that were due by half an interval when the fleet was read
 */
export const missedHeartbeats = (sfu, limits) =>
  Math.max(0, Math.floor(sfu.heartbeatAgeMs / limits.pingMs - 0.5));

/**
 * @param {Sfu} sfu
 * @returns {boolean} whether failures keep it from being an ordinary choice
 */
export const isEjected = (sfu) => sfu.state === "ejected" || sfu.state === "half-open";

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 * @returns {boolean} whether its ejection lasts for a time; others end with its next heartbeat
 */
export const isEjectedForTime = (sfu, limits) =>
  sfu.state === "ejected" && sfu.failures >= limits.failureThreshold;

/**
 * @param {Sfu} sfu
 * @returns {string} the figure for which it takes no new channel: sessions, cpu, memory, load; or empty
 */
export const overloadedBy = (sfu) => (sfu.state === "overloaded" || sfu.state === "full" ? sfu.reason : "");

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 * @returns {{figure: string, value: string, limit: string, setting: string}} what is above which threshold
 */
function excess(sfu, limits) {
  switch (sfu.reason) {
    case "cpu":
      return { figure: "CPU", value: percent(sfu.cpu), limit: percent(limits.maxCpu), setting: "overload.max_cpu" };
    case "memory":
      return {
        figure: "memory",
        value: percent(sfu.memory),
        limit: percent(limits.maxMemory),
        setting: "overload.max_memory",
      };
    default:
      return { figure: "load", value: load(sfu.load), limit: load(limits.maxLoad), setting: "overload.max_load" };
  }
}

/**
 * @param {Sfu} sfu
 * @param {number} ageMs of the data
 * @param {Limits} limits
 * @returns {string} why it is in its state, in a few words; empty where the state says it all
 */
export function reasonText(sfu, ageMs, limits) {
  switch (sfu.state) {
    case "ejected": {
      const why = sfu.reason === "misconfigured" ? "wrong key" : plural(sfu.failures, "failure");
      return isEjectedForTime(sfu, limits) ? `${why}, ${duration(sfu.ejectedForMs - ageMs)}` : why;
    }
    case "half-open":
      return "one call tries it";
    case "full":
      return "no session left";
    case "overloaded": {
      const { figure, value, limit } = excess(sfu, limits);
      return `${figure} ${value} > ${limit}`;
    }
    case "draining":
      return sfu.drainUntil ? `until ${timeOfDay(sfu.drainUntil)}` : DRAINED_BY[sfu.reason] ?? "";
    case "expired":
      return "no heartbeat";
    case "lost":
      return LOST_BY[sfu.reason] ?? sfu.reason;
    default:
      return sfu.failures ? `${sfu.failures} failed` : "";
  }
}

/** @type {Record<string, string>} */
const DRAINED_BY = { operator: "by an operator", sfu: "by itself" };

/** @type {Record<string, string>} */
const LOST_BY = { expired: "no heartbeat", unreachable: "not reachable" };

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 * @returns {string} why it is in its state, and what happens next
 */
export function meaning(sfu, limits) {
  switch (sfu.state) {
    case "selectable":
      return "Takes new channels.";
    case "half-open":
      return "Its ejection is over. One real request at a time decides whether it is back.";
    case "draining":
      return "Keeps the calls it has and takes no new ones.";
    case "drained":
      return "Has no calls left, or its deadline has passed. It can be stopped.";
    case "full":
      return "All its sessions are taken or reserved.";
    case "overloaded":
      return overloadedMeaning(sfu, limits);
    case "ejected":
      return ejectedMeaning(sfu, limits);
    case "expired":
      return `Has sent no heartbeat for ${duration(limits.unhealthyMs)}. The sweeper has not ended it yet.`;
    default:
      return goneMeaning(sfu, limits);
  }
}

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 */
function overloadedMeaning(sfu, limits) {
  const { figure, value, limit, setting } = excess(sfu, limits);
  return `Its ${figure} is at ${value}, the limit is ${limit} (${setting}). It takes new channels when that falls.`;
}

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 */
function ejectedMeaning(sfu, limits) {
  if (sfu.reason === "misconfigured") {
    return "It refuses requests that are signed with the key it has registered: probably another AUTH_KEY.";
  }
  if (isEjectedForTime(sfu, limits)) {
    return `Failed ${plural(sfu.failures, "time")} in a row. It is tried again when the time is over.`;
  }
  return "A request to it failed. It is out until its next heartbeat.";
}

/**
 * @param {Sfu} sfu
 * @param {Limits} limits
 */
function goneMeaning(sfu, limits) {
  const listed = `These are its last figures. It stays listed for ${duration(limits.lostMs)}.`;
  if (sfu.state === "signed-off") return `Said goodbye in order. ${listed}`;
  if (sfu.reason === "expired") return `Sent no heartbeat for ${duration(limits.unhealthyMs)}. ${listed}`;
  if (sfu.reason === "unreachable") return `Nothing listens at its address any more. ${listed}`;
  return `Gone: ${sfu.reason || "for an unknown reason"}. ${listed}`;
}

/** @type {Record<string, string>} */
const VERDICTS = {
  chosen: "Chosen",
  tied: "Tied for best",
  sticky: "Keeps its call here",
  "last-resort": "Last resort",
  "not-the-calls": "The call is elsewhere",
  "permit-taken": "Being tried",
  "higher-score": "Higher score",
  "other-region": "Other region",
  "region-not-allowed": "Not allowed here",
  tried: "Already tried",
};

/** @type {Record<string, Tone>} */
const VERDICT_TONES = { chosen: "ok", tied: "ok", sticky: "ok", "last-resort": "warn" };

/**
 * @param {string} verdict
 * @returns {Look}
 */
export function verdictLook(verdict) {
  const label = VERDICTS[verdict];
  if (label) return { tone: VERDICT_TONES[verdict] ?? "off", label };
  return LOOKS[verdict] ?? { tone: "off", label: verdict };
}

/** Events that say more than the state in which they leave an SFU. @type {Record<string, Look>} */
const EVENTS = {
  restarted: { tone: "warn", label: "Restarted" },
  "breaker-closed": { tone: "ok", label: "Back in service" },
  moving: { tone: "warn", label: "Calls move" },
  address_shared: { tone: "bad", label: "Address shared" },
  gap: { tone: "warn", label: "Older events left out" },
  "mass-expiry": { tone: "bad", label: "Mass expiry held" },
  down: { tone: "off", label: "Gone" },
};

/**
 * @param {import("./types.js").FleetEvent} event
 * @returns {Look}
 */
export function eventLook(event) {
  if (event.type !== "restarted" && LOOKS[event.state]) return LOOKS[event.state];
  return EVENTS[event.type] ?? { tone: "off", label: event.type };
}
