/** What an SFU's state means: its colour and shape, its name, and a sentence for people. */

import { duration, plural } from "./format.js";

/** @typedef {import("./types.js").Sfu} Sfu */
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
  expired: { tone: "bad", label: "Silent" },
  down: { tone: "bad", label: "Down" },
};

/** @type {Look} */
const MISCONFIGURED = { tone: "bad", label: "Misconfigured" };
/** @type {Look} */
const SIGNED_OFF = { tone: "off", label: "Signed off" };

/** Tones by how soon somebody should look. @type {Tone[]} */
export const TONES = ["bad", "warn", "drain", "ok", "off"];

/**
 * @param {Sfu} sfu
 * @returns {Look}
 */
export function look(sfu) {
  if (sfu.state === "down" && sfu.downReason === "signed-off") return SIGNED_OFF;
  if (sfu.standing === "ejected" && sfu.reason === "misconfigured") return MISCONFIGURED;
  return LOOKS[sfu.standing] ?? { tone: "warn", label: sfu.standing };
}

/**
 * @param {Tone} tone
 * @returns {number} small for what is urgent
 */
export const urgency = (tone) => TONES.indexOf(tone);

/**
 * @param {Sfu} sfu
 * @param {import("./types.js").Limits} limits
 * @returns {string} why it is in its state, and what happens next
 */
export function meaning(sfu, limits) {
  switch (sfu.standing) {
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
      return `Above the threshold of its ${sfu.reason} (load: ${limits.maxLoad}). It is back when that falls.`;
    case "ejected":
      return ejectedMeaning(sfu);
    case "expired":
      return `Sent no heartbeat for ${duration(limits.unhealthyMs)}.`;
    default:
      return downMeaning(sfu, limits);
  }
}

/** @param {Sfu} sfu */
function ejectedMeaning(sfu) {
  if (sfu.reason === "misconfigured") {
    return "It refuses requests that are signed with the key it has registered. Check its key.";
  }
  if (sfu.breaker === "open") {
    return `Failed ${plural(sfu.failures, "time")} in a row. It is probed when the time is over.`;
  }
  return "A request to it failed. It is out until its next heartbeat.";
}

/**
 * @param {Sfu} sfu
 * @param {import("./types.js").Limits} limits
 */
function downMeaning(sfu, limits) {
  const listed = `It stays listed for ${duration(limits.lostMs)}.`;
  if (sfu.downReason === "signed-off") return `Said goodbye in order. ${listed}`;
  if (sfu.downReason === "expired") {
    return `Sent no heartbeat for ${duration(limits.unhealthyMs)}. ${listed}`;
  }
  return `Gone: ${sfu.downReason || "unknown reason"}. ${listed}`;
}

/** @type {Record<string, string>} */
const VERDICTS = {
  chosen: "Chosen",
  tied: "Tied for best",
  sticky: "Has the call",
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

/** @type {Record<string, Look>} */
const EVENTS = {
  up: { tone: "ok", label: "Up" },
  down: { tone: "bad", label: "Down" },
  draining: { tone: "drain", label: "Draining" },
  drained: { tone: "drain", label: "Drained" },
  "breaker-open": { tone: "bad", label: "Breaker open" },
  "breaker-closed": { tone: "ok", label: "Breaker closed" },
  misconfigured: { tone: "bad", label: "Misconfigured" },
  overloaded: { tone: "warn", label: "Overloaded" },
  restarted: { tone: "warn", label: "Restarted" },
  moving: { tone: "warn", label: "Calls move" },
  address_shared: { tone: "bad", label: "Address shared" },
  gap: { tone: "warn", label: "Older events left out" },
  "mass-expiry": { tone: "bad", label: "Mass expiry held" },
};

/**
 * @param {import("./types.js").FleetEvent} event
 * @returns {Look}
 */
export function eventLook(event) {
  if (event.type === "down" && event.reason === "signed-off") return SIGNED_OFF;
  return EVENTS[event.type] ?? { tone: "off", label: event.type };
}
