/** What the page says of itself: how true its figures are at this moment, and why they are no newer. */

import { byId, setText } from "./dom.js";
import { duration, plural, timeOfDay } from "./format.js";

/** @typedef {import("./api.js").Problem} Problem */
/** @typedef {import("./types.js").FleetData} FleetData */
/** @typedef {import("./types.js").Tone} Tone */

/**
 * `live` only where the newest answer came in time and its figures are what Redis says.
 *
 * @typedef {"connecting" | "locked" | "paused" | "stale" | "away" | "no-events" | "live"} Connection
 */

/**
 * @param {Connection} connection
 * @param {FleetData | null} data
 * @param {number} sinceMs since the data was asked for
 */
export function showConnection(connection, data, sinceMs) {
  const badge = byId("connection");
  const [tone, text] = badgeOf(connection, data, sinceMs + (data?.fleetAgeMs ?? 0));
  badge.dataset.tone = tone;
  setText(/** @type {Node} */ (badge.lastElementChild), text);
}

/**
 * @param {Connection} connection
 * @param {FleetData | null} data
 * @param {number} ageMs of its figures
 * @returns {[Tone, string]}
 */
function badgeOf(connection, data, ageMs) {
  switch (connection) {
    case "connecting":
      return ["warn", "Connecting"];
    case "locked":
      return ["warn", "Locked"];
    case "paused":
      return ["off", "Paused"];
    case "stale":
      return ["bad", data ? `Stale, ${duration(ageMs)}` : "No answer"];
    case "away":
      return ["warn", `Without Redis, ${duration(ageMs)}`];
    case "no-events":
      return ["warn", "Reconnecting"];
    case "live":
      return ["ok", "Live"];
  }
}

/**
 * @param {Connection} connection
 * @param {FleetData | null} data
 * @param {import("./live.js").Poller} poller
 * @param {Problem | null} problem of the newest read
 */
export function showBanner(connection, data, poller, problem) {
  const banner = byId("banner");
  const text =
    connection === "stale" ? staleText(data, poller, problem) : connection === "away" && data ? awayText(data) : "";
  banner.hidden = text === "";
  setText(banner, text);
}

/**
 * @param {FleetData | null} data
 * @param {import("./live.js").Poller} poller
 * @param {Problem | null} problem
 */
function staleText(data, { ageMs, staleAfterMs }, problem) {
  const isAnswering = data && ageMs < staleAfterMs / 2;
  const why =
    problem?.message ??
    (isAnswering ? "The gateway has no newer figures from Redis." : "The gateway does not answer in time.");
  if (!data) return `${why} Trying again.`;
  return `Not live: this was true at ${timeOfDay(Date.now() - ageMs - data.fleetAgeMs)}. ${why} Trying again.`;
}

/** @param {FleetData} data */
function awayText(data) {
  const seen = `Figures are from ${timeOfDay(data.at - data.fleetAgeMs)}.`;
  const known = plural(data.snapshotSize, "SFU");
  return data.mode === "unavailable"
    ? `Redis is away. Channels are placed from the snapshot of ${known}; heartbeats are refused. ${seen}`
    : `Redis is recovering. Channels are placed from the snapshot until the SFUs have reported. ${seen}`;
}
