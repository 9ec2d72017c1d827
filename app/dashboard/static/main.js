/** The page: data in, views up to date, and honest about how old it is. */

import { fetchFleet, token } from "./api.js";
import { ask } from "./ask.js";
import { showBanner, showConnection } from "./connection.js";
import { DiagnosisPanel } from "./diagnosis.js";
import { byId, setText } from "./dom.js";
import { Drawer } from "./drawer.js";
import { ExplainPanel } from "./explain.js";
import { Feed } from "./feed.js";
import { FleetView } from "./fleet.js";
import { offerKeys } from "./help.js";
import { EventStream, Poller } from "./live.js";
import { eventLook, look } from "./states.js";
import { chooseTheme } from "./theme.js";
import { Tiles } from "./tiles.js";

/** @typedef {import("./api.js").Problem} Problem */
/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./types.js").FleetData} FleetData */
/** @typedef {import("./types.js").Diagnosis} Diagnosis */

const REPLAY_MS = 3_600_000;
const NEWS_MS = 5_000;

class Page {
  #tiles = new Tiles();
  #feed = new Feed((address) => this.#drawer.open(address));
  #drawer = new Drawer(
    () => this.#poller.read(),
    (address) => this.#feed.of(address),
  );
  #diagnosis = new DiagnosisPanel((address) => this.#drawer.open(address));
  #fleet = new FleetView((address) => this.#drawer.open(address));
  #explain = new ExplainPanel((address) => this.#drawer.open(address));
  #poller = new Poller(
    (data, diagnosis) => this.#show(data, diagnosis),
    (problem) => this.#readEnded(problem),
  );
  /** @type {FleetData | null} */
  #data = null;
  /** @type {Problem | null} */
  #problem = null;
  #isStreaming = false;
  /** @type {Connection} */
  #connection = "connecting";

  /** Begin. */
  start() {
    this.#poller.read();
    setInterval(() => this.tick(), 1_000);
    document.addEventListener("visibilitychange", () => this.tick());
    document.addEventListener("tokenchange", () => token.get() || this.#poller.read());
    offerToUnlock(() => this.#poller.read());
  }

  /**
   * @param {FleetData} data
   * @param {Diagnosis | null} diagnosis
   */
  #show(data, diagnosis) {
    const isFirst = this.#data === null;
    this.#data = data;
    setText(byId("version"), data.version);
    this.#diagnosis.show(diagnosis, 0);
    this.#tiles.show(data, data.fleetAgeMs);
    this.#fleet.show(data);
    this.#explain.show(data);
    this.#drawer.show(data);
    const inTrouble = data.sfus.filter((sfu) => look(sfu).tone === "bad").length;
    document.title = inTrouble ? `(${inTrouble}) SFU Gateway` : "SFU Gateway";
    if (isFirst) this.#begin(data);
  }

  /** @param {Problem | null} problem */
  #readEnded(problem) {
    this.#problem = problem;
    if (this.#isLocked && this.#data) location.reload(); // what was shown is for operators only
    this.tick();
  }

  /** Whether this gateway shows its fleet to operators only, and this tab has no valid token. */
  get #isLocked() {
    return this.#problem?.status === 401;
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
    const before = this.#connection;
    this.#connection = this.#judge();
    const isStale = this.#connection === "stale";
    document.body.classList.toggle("is-stale", isStale);
    document.body.classList.toggle("is-locked", this.#connection === "locked");
    this.#feed.showState(this.#isStreaming && !isStale ? "live, last hour" : "reconnecting");
    showConnection(this.#connection, this.#data, this.#poller.ageMs);
    showBanner(this.#connection, this.#data, this.#poller, this.#problem);
    if (isStale !== (before === "stale")) announce(isStale ? "The page is stale." : "The page is live again.");
    if (!this.#data || isStale) return;
    const ageMs = this.#poller.ageMs + this.#data.fleetAgeMs;
    this.#diagnosis.tick(this.#poller.ageMs);
    this.#tiles.tick(ageMs);
    this.#fleet.tick(ageMs);
    this.#drawer.tick(ageMs);
  }

  /** @returns {Connection} */
  #judge() {
    const { ageMs, intervalMs, staleAfterMs, isPaused } = this.#poller;
    if (this.#isLocked) return "locked";
    if (isPaused) return "paused";
    // A gateway so slow that its next answer would come too late is not live in between.
    const limitMs = this.#connection === "stale" ? (staleAfterMs - intervalMs) / 2 : staleAfterMs;
    if (ageMs > limitMs) return "stale";
    if (!this.#data) return "connecting";
    if (this.#data.mode !== "available") return "away";
    if (ageMs + this.#data.fleetAgeMs > staleAfterMs) return "stale";
    return this.#isStreaming ? "live" : "no-events";
  }
}

/** @param {string} text */
function announce(text) {
  setText(byId("announcer"), text);
}

/** @param {string | undefined} view what a narrow screen shows */
function showView(view) {
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll("nav.views button")) {
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.view === view));
  }
}

function offerViews() {
  for (const button of document.querySelectorAll("nav.views button")) {
    button.addEventListener("click", () => showView(/** @type {HTMLElement} */ (button).dataset.view));
  }
}

/** @param {() => void} onUnlocked */
function offerToUnlock(onUnlocked) {
  byId("unlock").addEventListener("click", () =>
    ask({
      title: "Show the fleet",
      text: "This gateway shows its SFUs to operators only.",
      confirm: "Show",
      run: async () => {
        await fetchFleet();
        onUnlocked();
      },
    }),
  );
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
offerKeys(showView);
offerToForgetToken();
new Page().start();
