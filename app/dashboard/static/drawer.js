/** One SFU in detail: what its state means, its last hour, its figures, and what an operator can do. */

import { askDrain, askForget, askMove, askResume } from "./actions.js";
import { fetchHistory } from "./api.js";
import { Bar } from "./bar.js";
import { copyButton } from "./copy.js";
import { byId, el, setShape, setText, shape } from "./dom.js";
import { eventItem } from "./feed.js";
import { count, dateAndTime, duration, load, percent, plural } from "./format.js";
import { Plot } from "./plot.js";
import { isEjectedForTime, isLiving, look, meaning, missedHeartbeats, overloadedBy } from "./states.js";

/** @typedef {import("./types.js").Sfu} Sfu */
/** @typedef {import("./types.js").FleetData} FleetData */
/** @typedef {import("./types.js").FleetEvent} FleetEvent */
/** @typedef {import("./types.js").Moves} Moves */
/** @typedef {import("./types.js").Series} Series */

const HISTORY_MS = 20_000;
const LEAST_MINUTES = 5;
const EVENTS_SHOWN = 8;
const FACTS = [
  "Region",
  "Last error",
  "Load",
  "Sessions",
  "Channels",
  "CPU, memory",
  "Heartbeat",
  "Ejection",
  "Address",
  "Drain deadline",
  "Calls",
  "Gone since",
  "Registered",
  "Public URL",
];
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
  /** @type {Map<string, HTMLElement>} */
  #facts = new Map(FACTS.map((name) => [name, el("dd")]));
  #axisStart = el("span");
  #factList = el("dl", { className: "facts" });
  #events = el("ol", { className: "feed" });
  #drain = el("button", { type: "button" }, "Drain");
  #move = el("button", { type: "button", hidden: true }, "Move calls");
  #resume = el("button", { type: "button" }, "Resume");
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
        this.#factList,
        el("section", { className: "own-events" }, el("h3", {}, "Events of the last hour"), this.#events),
        this.#plotList(),
      ),
      el("footer", {}, this.#drain, this.#move, this.#resume, this.#forget, this.#closed),
    );
    for (const [name, value] of this.#facts)
      this.#factList.append(el("div", { hidden: true }, el("dt", {}, name), value));
    this.#dialog.addEventListener("close", () => this.#closing());
    this.#dialog.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    this.#drain.addEventListener("click", () => askDrain(this.#address, this.onChanged));
    this.#move.addEventListener("click", () => this.#askMove());
    this.#resume.addEventListener("click", () => askResume(this.#address, this.onChanged));
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
    this.#forget.disabled = !data.admin || !sfu;
    if (sfu) this.#showSfu(sfu, data);
    else this.#showUnknown();
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
    const [sessions, cpu, memory] = sfu.terms;
    this.#fact("Region", sfu.region);
    this.#fact(
      "Load",
      `${load(sfu.load)} = ${load(sessions)} sessions + ${load(cpu)} CPU + ${load(memory)} memory`,
    );
    this.#fact(
      "Sessions",
      `${count(sfu.sessions)} of ${count(sfu.maxSessions)}, ${sfu.reserved.toFixed(1)} reserved`,
    );
    this.#fact("Channels", count(sfu.channels));
    this.#fact("CPU, memory", usageText(sfu, data.limits));
    this.#fact("Last error", lastErrorText(sfu));
    this.#fact("Address", sfu.sharedAddress ? "Two processes report under it in turn: one name hides two SFUs." : "");
    this.#fact("Drain deadline", sfu.drainUntil ? dateAndTime(sfu.drainUntil) : "");
    this.#fact("Calls", sfu.moves ? movesText(sfu.moves) : "");
    this.#fact("Gone since", sfu.downAt ? dateAndTime(sfu.downAt) : "");
    this.#fact("Registered", sfu.registeredAt ? dateAndTime(sfu.registeredAt) : "");
    this.#fact("Public URL", sfu.publicUrl);
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
    for (const name of this.#facts.keys()) this.#fact(name, "");
  }

  /**
   * Show what time alone changes.
   *
   * @param {number} ageMs of the data
   */
  tick(ageMs) {
    const data = this.#data;
    const sfu = this.#dialog.open && data?.sfus.find((each) => each.address === this.#address);
    if (!data || !sfu) return;
    const { limits } = data;
    const missed = isLiving(sfu) ? missedHeartbeats(sfu, limits) : 0;
    this.#fact("Heartbeat", `${duration(sfu.heartbeatAgeMs + ageMs)} ago${missed ? `, ${missed} missed` : ""}`);
    const left = duration(sfu.ejectedForMs - ageMs);
    const times = `ejected ${plural(sfu.ejections, "time")} of late`;
    this.#fact("Ejection", isEjectedForTime(sfu, limits) ? `for another ${left}, ${times}` : "");
  }

  #showEvents() {
    const events = this.eventsOf(this.#address).slice(0, EVENTS_SHOWN);
    const newest = events[0]?.id ?? "";
    if (this.#events.dataset.newest === `${this.#address} ${newest}`) return;
    this.#events.dataset.newest = `${this.#address} ${newest}`;
    this.#events.replaceChildren(...events.map((event) => eventItem(event)));
  }

  /**
   * @param {string} name
   * @param {string} text empty: leave it out
   */
  #fact(name, text) {
    const value = this.#facts.get(name);
    if (!value?.parentElement) throw new Error(`no fact is named ${name}`);
    setText(value, text);
    value.parentElement.hidden = text === "";
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

/** @param {Moves} moves */
function movesText({ moved, left, kept, failed }) {
  return `${count(moved)} moved, ${count(left)} left, ${count(kept)} kept, ${count(failed)} failed`;
}

/**
 * @param {Sfu} sfu
 * @param {import("./types.js").Limits} limits
 */
function usageText(sfu, limits) {
  const cause = overloadedBy(sfu);
  const cpu = percent(sfu.cpu) + (cause === "cpu" ? ` (limit ${percent(limits.maxCpu)})` : "");
  return `${cpu}, ${percent(sfu.memory)}${cause === "memory" ? ` (limit ${percent(limits.maxMemory)})` : ""}`;
}

/** @param {Sfu} sfu */
function lastErrorText(sfu) {
  if (!sfu.lastError) return "";
  const times = sfu.errors ? `, ${plural(sfu.errors, "error")} since its last success` : ", it has succeeded since";
  return `It ${sfu.lastError}, ${duration(sfu.lastErrorAgoMs)} ago${times}.`;
}

/**
 * @param {(number | null)[]} values
 * @returns {number} how many there are since the first that is known
 */
function known(values) {
  const first = values.findIndex((value) => value !== null);
  return first < 0 ? 0 : values.length - first;
}
