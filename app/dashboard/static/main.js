/** The page: data in, views up to date, and honest about how old it is. */

import { token } from "./api.js";
import { byId, setText } from "./dom.js";
import { Drawer } from "./drawer.js";
import { ExplainPanel } from "./explain.js";
import { Feed } from "./feed.js";
import { FleetView } from "./fleet.js";
import { duration, plural, timeOfDay } from "./format.js";
import { EventStream, Poller } from "./live.js";
import { eventLook, look } from "./states.js";
import { chooseTheme } from "./theme.js";
import { Tiles } from "./tiles.js";

/** @typedef {import("./types.js").FleetData} FleetData */

const REPLAY_MS = 3_600_000;
const STALE_AFTER_MS = 8_000;
const NEWS_MS = 5_000;

class Page {
  #tiles = new Tiles();
  #drawer = new Drawer(() => this.#poller.read());
  #fleet = new FleetView((address) => this.#drawer.open(address));
  #feed = new Feed((address) => this.#drawer.open(address));
  #explain = new ExplainPanel((address) => this.#drawer.open(address));
  #poller = new Poller(
    (data) => this.#show(data),
    () => this.tick(),
  );
  /** @type {FleetData | null} */
  #data = null;
  #dataAt = performance.now();
  #isStreaming = false;
  #wasStale = false;

  /** Begin. */
  start() {
    this.#poller.read();
    setInterval(() => this.tick(), 1_000);
  }

  /** @param {FleetData} data */
  #show(data) {
    const isFirst = this.#data === null;
    this.#data = data;
    this.#dataAt = performance.now();
    setText(byId("version"), data.version);
    this.#tiles.show(data);
    this.#fleet.show(data);
    this.#explain.show(data);
    this.#drawer.show(data);
    const inTrouble = data.sfus.filter((sfu) => look(sfu).tone === "bad").length;
    document.title = inTrouble ? `(${inTrouble}) SFU Gateway` : "SFU Gateway";
    this.tick();
    if (isFirst) this.#begin(data);
  }

  /**
   * Once the replica's time is known: the last hour's events, then what comes.
   *
   * @param {FleetData} data
   */
  #begin(data) {
    const stream = new EventStream(
      `${data.at - REPLAY_MS}-0`,
      (event) => {
        this.#feed.add(event);
        if (event.at > data.at - NEWS_MS) this.#poller.hurry();
        if (event.at > data.at && eventLook(event).tone === "bad") {
          announce(`${event.address} ${eventLook(event).label}`);
        }
      },
      (isOpen) => {
        this.#isStreaming = isOpen;
        this.tick();
      },
    );
    stream.follow();
    const linked = new URLSearchParams(location.hash.slice(1)).get("sfu");
    if (linked) this.#drawer.open(linked);
  }

  /** Show what time alone changes: ages, countdowns, and whether all this is still true. */
  tick() {
    const sinceMs = performance.now() - this.#dataAt;
    const isStale = sinceMs > Math.max(STALE_AFTER_MS, 3 * this.#poller.intervalMs) && !document.hidden;
    document.body.classList.toggle("is-stale", isStale);
    this.#feed.showState(this.#isStreaming ? "live, last hour" : "reconnecting");
    showConnection(this.#data, isStale, this.#isStreaming, sinceMs);
    showBanner(this.#data, isStale, sinceMs);
    if (isStale !== this.#wasStale) announce(isStale ? "The page is stale." : "The page is live again.");
    this.#wasStale = isStale;
    if (!this.#data || isStale) return;
    const ageMs = sinceMs + this.#data.fleetAgeMs;
    this.#tiles.tick(sinceMs);
    this.#fleet.tick(ageMs);
    this.#drawer.tick(ageMs);
  }
}

/**
 * @param {FleetData | null} data
 * @param {boolean} isStale
 * @param {boolean} isStreaming
 * @param {number} sinceMs
 */
function showConnection(data, isStale, isStreaming, sinceMs) {
  const badge = byId("connection");
  const [tone, text] = isStale
    ? ["bad", data ? `Stale, ${duration(sinceMs)}` : "No answer"]
    : data && isStreaming
      ? ["ok", "Live"]
      : ["warn", data ? "Reconnecting" : "Connecting"];
  badge.dataset.tone = tone;
  setText(/** @type {Node} */ (badge.lastElementChild), text);
}

/**
 * @param {FleetData | null} data
 * @param {boolean} isStale
 * @param {number} sinceMs
 */
function showBanner(data, isStale, sinceMs) {
  const banner = byId("banner");
  const text = bannerText(data, isStale, sinceMs);
  banner.hidden = text === "";
  setText(banner, text);
}

/**
 * @param {FleetData | null} data
 * @param {boolean} isStale
 * @param {number} sinceMs
 */
function bannerText(data, isStale, sinceMs) {
  if (isStale) {
    return data
      ? `Not live: this was true at ${timeOfDay(Date.now() - sinceMs)}. The gateway does not answer. Trying again.`
      : "The gateway does not answer. Trying again.";
  }
  if (!data || data.mode === "registry") return "";
  const seen = `Figures are from ${timeOfDay(data.at - data.fleetAgeMs)}.`;
  const known = plural(data.snapshotSize, "SFU");
  return data.mode === "away"
    ? `Redis is away. Channels are placed from the snapshot of ${known}; heartbeats are refused. ${seen}`
    : `Redis is returning. Channels are placed from the snapshot until the SFUs have reported. ${seen}`;
}

/** @param {string} text */
function announce(text) {
  setText(byId("announcer"), text);
}

function offerViews() {
  const buttons = document.querySelectorAll("nav.views button");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const { view } = /** @type {HTMLElement} */ (button).dataset;
      document.body.dataset.view = view;
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
    });
  }
}

function offerToForgetToken() {
  const lock = byId("lock");
  const show = () => (lock.hidden = token.get() === "");
  lock.addEventListener("click", () => token.forget());
  document.addEventListener("tokenchange", show);
  show();
}

chooseTheme(/** @type {HTMLSelectElement} */ (byId("theme")));
offerViews();
offerToForgetToken();
new Page().start();
