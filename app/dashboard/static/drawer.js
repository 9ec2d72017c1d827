/** One SFU in detail: what its state means, its last hour, its figures, and what an operator can do. */

import { askDrain, askForget, askMove, askReset, askResume } from "./actions.js";
import { fetchHistory } from "./api.js";
import { Bar } from "./bar.js";
import { copyButton } from "./copy.js";
import { byId, el, setShape, setText, shape } from "./dom.js";
import { Facts } from "./facts.js";
import { eventItem } from "./feed.js";
import { count, duration, load } from "./format.js";
import { Plot } from "./plot.js";
import { isEjected, isLiving, look, meaning } from "./states.js";

/** @typedef {import("./types.js").Sfu} Sfu */
/** @typedef {import("./types.js").FleetData} FleetData */
/** @typedef {import("./types.js").FleetEvent} FleetEvent */
/** @typedef {import("./types.js").Series} Series */

const HISTORY_MS = 20_000;
const LEAST_MINUTES = 5;
const EVENTS_SHOWN = 8;
const NARROW = matchMedia("(max-width: 760px)");

export class Drawer {
  #dialog = /** @type {HTMLDialogElement} */ (byId("drawer"));
  #address = "";
  /** @type {HTMLElement | null} */
  #openedFrom = null;
  /** @type {Series | null} */
  #series = null;
  #historyDue = 0;
  /** @type {FleetData | null} */
  #data = null;

  #title = el("h2", { id: "drawer-title", tabIndex: -1 });
  #shape = shape("off");
  #label = el("strong");
  #meaning = el("p", { className: "meaning" });
  #bar = new Bar();
  #plots = {
    load: new Plot("Load", load),
    sessions: new Plot("Sessions", count),
    channels: new Plot("Channels", count),
  };
  #facts = new Facts();
  #axisStart = el("span");
  #events = el("ol", { className: "feed" });
  #drain = el("button", { type: "button" }, "Drain");
  #move = el("button", { type: "button", hidden: true }, "Move calls");
  #resume = el("button", { type: "button" }, "Resume");
  #reset = el("button", { type: "button", hidden: true }, "Reset");
  #forget = el("button", { type: "button", className: "danger" }, "Forget");
  #closed = el(
    "p",
    { className: "dim", hidden: true },
    "Set SFU_GATEWAY_ADMIN_TOKEN to open the operators' actions.",
  );

  /**
   * @param {() => void} onChanged after an operator's action
   * @param {(address: string) => FleetEvent[]} eventsOf one SFU, newest first
   */
  constructor(onChanged, eventsOf) {
    this.onChanged = onChanged;
    this.eventsOf = eventsOf;
    const close = el(
      "button",
      { type: "button", className: "quiet close", "aria-label": "Close details" },
      "Close",
    );
    close.addEventListener("click", () => this.close());
    const state = el("div", { className: "state" }, this.#shape, this.#label);
    this.#dialog.append(
      el("header", {}, this.#title, copyButton(() => this.#address, "its address"), close),
      el(
        "div",
        { className: "drawer-body", tabIndex: 0, role: "region", "aria-labelledby": "drawer-title" },
        state,
        this.#meaning,
        this.#loadLine(),
        this.#facts.element,
        el("section", { className: "own-events" }, el("h3", {}, "Events of the last hour"), this.#events),
        this.#plotList(),
      ),
      el("footer", {}, this.#drain, this.#move, this.#resume, this.#reset, this.#forget, this.#closed),
    );
    this.#dialog.addEventListener("close", () => this.#closing());
    this.#dialog.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    this.#drain.addEventListener("click", () => askDrain(this.#address, this.onChanged));
    this.#move.addEventListener("click", () => this.#askMove());
    this.#resume.addEventListener("click", () => askResume(this.#address, this.onChanged));
    this.#reset.addEventListener("click", () => askReset(this.#address, this.onChanged));
    this.#forget.addEventListener("click", () => askForget(this.#address, this.onChanged));
  }

  #loadLine() {
    const legend = el(
      "span",
      { className: "legend" },
      el("i", { className: "used" }),
      "measured",
      el("i", { className: "reserved" }),
      "reserved",
      el("i", { className: "limit" }),
      "limit",
    );
    return el("div", { className: "load-line" }, this.#bar.element, legend);
  }

  #plotList() {
    const plots = Object.values(this.#plots).map((plot) => plot.element);
    const axis = el(
      "div",
      { className: "axis", "aria-hidden": "true" },
      this.#axisStart,
      el("span", {}, "now"),
    );
    return el("section", { className: "plots", "aria-label": "The last hour" }, ...plots, axis);
  }

  /** The address that is shown; empty while closed. */
  get address() {
    return this.#dialog.open ? this.#address : "";
  }

  /** @param {string} address */
  open(address) {
    if (!this.#dialog.open) {
      this.#openedFrom = document.activeElement instanceof HTMLElement ? document.activeElement : null;
      if (NARROW.matches) this.#dialog.showModal();
      else this.#dialog.show();
    }
    if (address !== this.#address) {
      this.#address = address;
      this.#series = null;
      this.#historyDue = 0;
      for (const plot of Object.values(this.#plots)) plot.show([], 0, 0, 1);
    }
    history.replaceState(null, "", `#sfu=${encodeURIComponent(address)}`);
    this.#dialog.scrollTop = 0;
    this.#title.focus();
    if (this.#data) this.show(this.#data);
  }

  close() {
    this.#dialog.close();
  }

  #closing() {
    history.replaceState(null, "", location.pathname + location.search);
    this.#openedFrom?.focus();
  }

  /** @param {FleetData} data */
  show(data) {
    this.#data = data;
    if (!this.#dialog.open) return;
    const sfu = data.sfus.find((each) => each.address === this.#address);
    setText(this.#title, this.#address);
    this.#closed.hidden = data.admin;
    const canChange = data.admin && sfu !== undefined && isLiving(sfu);
    this.#drain.disabled = !canChange || sfu.status === "draining";
    this.#move.hidden = !data.rescue;
    this.#move.disabled = !canChange;
    this.#resume.disabled = !canChange || sfu.status !== "draining";
    this.#reset.hidden = !sfu || !isEjected(sfu);
    this.#reset.disabled = !canChange;
    this.#forget.disabled = !data.admin || !sfu;
    if (sfu) this.#showSfu(sfu, data);
    else this.#showUnknown();
    this.#facts.show(sfu, data.limits, data.fleetAgeMs);
    this.#showEvents();
    if (performance.now() >= this.#historyDue) this.#loadHistory();
    this.#showHistory(sfu, data.at);
  }

  /**
   * @param {Sfu} sfu
   * @param {FleetData} data
   */
  #showSfu(sfu, data) {
    const { tone, label } = look(sfu);
    setShape(this.#shape, tone);
    setText(this.#label, label);
    setText(this.#meaning, meaning(sfu, data.limits));
    this.#bar.show(sfu.load, sfu.reservedLoad, data.limits.maxLoad);
  }

  #askMove() {
    const sfu = this.#data?.sfus.find((each) => each.address === this.#address);
    const left = this.#data && sfu?.drainUntil ? Math.max(1, sfu.drainUntil - this.#data.at) : 0;
    askMove(this.#address, left, this.onChanged);
  }

  #showUnknown() {
    setShape(this.#shape, "off");
    setText(this.#label, "Not listed");
    setText(
      this.#meaning,
      "The registry does not know this SFU. It was forgotten, or has been down for too long.",
    );
    this.#bar.show(0, 0, 1);
  }

  /**
   * Show what time alone changes.
   *
   * @param {number} ageMs of the data
   */
  tick(ageMs) {
    const sfu = this.#data?.sfus.find((each) => each.address === this.#address);
    if (this.#dialog.open && this.#data) this.#facts.show(sfu, this.#data.limits, ageMs);
  }

  #showEvents() {
    const events = this.eventsOf(this.#address).slice(0, EVENTS_SHOWN);
    const newest = events[0]?.id ?? "";
    if (this.#events.dataset.newest === `${this.#address} ${newest}`) return;
    this.#events.dataset.newest = `${this.#address} ${newest}`;
    this.#events.replaceChildren(...events.map((event) => eventItem(event)));
  }

  async #loadHistory() {
    const address = this.#address;
    this.#historyDue = performance.now() + HISTORY_MS;
    try {
      const series = await fetchHistory(address);
      if (address === this.#address) this.#series = series;
      if (this.#data) this.show(this.#data);
    } catch {
      this.#historyDue = 0; // with the next data
    }
  }

  /**
   * @param {Sfu | undefined} sfu
   * @param {number} now since the epoch
   */
  #showHistory(sfu, now) {
    const series = this.#series;
    if (!series) return;
    const living = sfu && isLiving(sfu) ? sfu : null;
    const samples = Math.max((LEAST_MINUTES * 60_000) / series.stepMs, known(series.load));
    setText(this.#axisStart, `${duration(samples * series.stepMs)} ago`);
    const drawn = (/** @type {"load" | "sessions" | "channels"} */ name, /** @type {number} */ least) =>
      this.#plots[name].show(
        [...series[name].slice(-samples), living ? living[name] : null],
        series.stepMs,
        now,
        least,
      );
    drawn("load", 0.1);
    drawn("sessions", 1);
    drawn("channels", 1);
  }
}

/**
 * @param {(number | null)[]} values
 * @returns {number} how many there are since the first that is known
 */
function known(values) {
  const first = values.findIndex((value) => value !== null);
  return first < 0 ? 0 : values.length - first;
}
