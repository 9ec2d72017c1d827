/** All SFUs by region: tables that change in place, filtered, ordered, and never longer than needed. */

import { Bar } from "./bar.js";
import { arrange, byId, el, setText, shape } from "./dom.js";
import { count, load, plural } from "./format.js";
import { COLUMNS, Row } from "./row.js";
import { look, TONES, urgency } from "./states.js";

/** @typedef {import("./types.js").Sfu} Sfu */
/** @typedef {import("./types.js").FleetData} FleetData */
/** @typedef {import("./types.js").Limits} Limits */
/** @typedef {import("./types.js").Tone} Tone */

const PAGE = 100;
const COLLAPSE_ABOVE = 400;

/** @type {Record<string, (a: Sfu, b: Sfu) => number>} */
const ORDERS = {
  trouble: (a, b) => urgency(look(a).tone) - urgency(look(b).tone) || byAddress(a, b),
  load: (a, b) => b.load - a.load || byAddress(a, b),
  address: (a, b) => byAddress(a, b),
};

const collator = new Intl.Collator("en", { numeric: true });

/**
 * @param {Sfu} a
 * @param {Sfu} b
 */
function byAddress(a, b) {
  return collator.compare(a.address, b.address);
}

/** @type {Record<string, (tone: Tone) => boolean>} */
const FILTERS = {
  all: () => true,
  trouble: (tone) => tone === "bad" || tone === "warn",
  ok: (tone) => tone === "ok",
  drain: (tone) => tone === "drain",
};

/** @type {Record<Tone, string>} */
const SUMMARY = { bad: "out", warn: "limited", drain: "draining", ok: "selectable", off: "signed off" };

export class FleetView {
  #root = byId("regions");
  #empty = byId("fleet-empty");
  #count = byId("fleet-count");
  #search = /** @type {HTMLInputElement} */ (byId("search"));
  #filter = /** @type {HTMLSelectElement} */ (byId("filter"));
  #order = /** @type {HTMLSelectElement} */ (byId("order"));
  /** @type {Map<string, Region>} */
  #regions = new Map();
  /** @type {FleetData | null} */
  #data = null;

  /** @param {(address: string) => void} onOpen */
  constructor(onOpen) {
    this.onOpen = onOpen;
    byId("column-titles").append(el("table", {}, titles()));
    byId("tools").addEventListener("submit", (event) => event.preventDefault());
    for (const control of [this.#search, this.#filter, this.#order]) {
      control.addEventListener("input", () => this.#data && this.show(this.#data));
    }
  }

  /** @param {FleetData} data */
  show(data) {
    this.#data = data;
    const words = this.#search.value.trim().toLowerCase();
    const passes = FILTERS[this.#filter.value];
    const isFiltered = words !== "" || this.#filter.value !== "all";
    const byRegion = Map.groupBy(data.sfus, (sfu) => sfu.region);
    const shown = [];
    let matches = 0;
    for (const [name, sfus] of byRegion) {
      const matching = sfus.filter(
        (sfu) => passes(look(sfu).tone) && `${sfu.address} ${sfu.region}`.toLowerCase().includes(words),
      );
      matches += matching.length;
      if (isFiltered && matching.length === 0) continue;
      const region = this.#region(name, sfus);
      region.show(sfus, matching.sort(ORDERS[this.#order.value]), data.limits, isFiltered);
      shown.push(region.element);
    }
    arrange(this.#root, shown);
    for (const name of this.#regions.keys()) if (!byRegion.has(name)) this.#regions.delete(name);
    const total = plural(data.sfus.length, "SFU");
    setText(this.#count, isFiltered ? `${count(matches)} of ${total}` : `${total} in ${plural(byRegion.size, "region")}`);
    this.#showEmpty(data, matches);
  }

  /** @param {number} ageMs of the data */
  tick(ageMs) {
    if (!this.#data) return;
    for (const region of this.#regions.values()) region.tick(ageMs, this.#data.limits);
  }

  /**
   * @param {string} name
   * @param {Sfu[]} sfus
   */
  #region(name, sfus) {
    let region = this.#regions.get(name);
    if (!region) {
      const isCalm = sfus.every((sfu) => urgency(look(sfu).tone) > urgency("warn"));
      const isLarge = (this.#data?.sfus.length ?? 0) > COLLAPSE_ABOVE;
      region = new Region(name, !(isLarge && isCalm), this.onOpen, () => this.#data && this.show(this.#data));
      this.#regions.set(name, region);
    }
    return region;
  }

  /**
   * @param {FleetData} data
   * @param {number} matches
   */
  #showEmpty(data, matches) {
    this.#empty.hidden = matches > 0;
    byId("column-titles").hidden = matches === 0;
    if (matches > 0) return;
    const [title, text] = data.sfus.length
      ? ["No SFU matches", "Change the filter to see the others."]
      : [
          "No SFU has registered yet",
          "Start the agent beside an SFU with SFU_GATEWAY_URL set to this gateway, or list SFUs in SFU_GATEWAY_NODES. They appear here by themselves.",
        ];
    if (this.#empty.firstElementChild?.textContent === title) return;
    this.#empty.replaceChildren(el("strong", {}, title), el("p", {}, text));
  }
}

class Region {
  #toggle;
  #body = el("tbody", { role: "rowgroup" });
  #table;
  #more = el("button", { type: "button", className: "quiet more" });
  #summary = el("span", { className: "summary" });
  #figures = el("span", { className: "figures" });
  #bar = new Bar();
  #limit = PAGE;
  /** @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Row[]} */
  #shown = [];

  /**
   * @param {string} name
   * @param {boolean} isOpen
   * @param {(address: string) => void} onOpen
   * @param {() => void} onChange when other rows are wanted
   */
  constructor(name, isOpen, onOpen, onChange) {
    this.isOpen = isOpen;
    this.onOpen = onOpen;
    this.#table = table(name, this.#body);
    this.#toggle = el("button", { type: "button", className: "toggle" }, el("i", { "aria-hidden": "true" }), name);
    this.#toggle.addEventListener("click", () => {
      this.isOpen = !this.isOpen;
      onChange();
    });
    this.#more.addEventListener("click", () => {
      this.#limit += 5 * PAGE;
      onChange();
    });
    const head = el(
      "div",
      { className: "region-head" },
      el("h3", {}, this.#toggle),
      this.#summary,
      this.#figures,
      this.#bar.element,
    );
    this.element = el("section", { className: "region", "aria-label": `Region ${name}` }, head, this.#table, this.#more);
  }

  /**
   * @param {Sfu[]} all of the region
   * @param {Sfu[]} matching those wanted, in order
   * @param {Limits} limits
   * @param {boolean} isFiltered
   */
  show(all, matching, limits, isFiltered) {
    const isOpen = this.isOpen || isFiltered;
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
    this.#table.hidden = !isOpen;
    this.#showSummary(all, limits);
    const wanted = isOpen ? matching.slice(0, this.#limit) : [];
    this.#shown = wanted.map((sfu) => this.#row(sfu, limits));
    arrange(this.#body, this.#shown.map((row) => row.element));
    const hidden = isOpen ? matching.length - wanted.length : 0;
    this.#more.hidden = hidden === 0;
    setText(this.#more, `Show ${count(Math.min(hidden, 5 * PAGE))} more of ${count(hidden)}`);
    this.#forgetAllBut(all);
  }

  /**
   * @param {number} ageMs
   * @param {Limits} limits
   */
  tick(ageMs, limits) {
    for (const row of this.#shown) row.tick(ageMs, limits);
  }

  /**
   * @param {Sfu} sfu
   * @param {Limits} limits
   */
  #row(sfu, limits) {
    let row = this.#rows.get(sfu.address);
    if (!row) {
      row = new Row(sfu, this.onOpen);
      this.#rows.set(sfu.address, row);
    }
    row.show(sfu, limits);
    return row;
  }

  /** @param {Sfu[]} sfus */
  #forgetAllBut(sfus) {
    if (this.#rows.size <= sfus.length) return;
    const kept = new Set(sfus.map((sfu) => sfu.address));
    for (const address of this.#rows.keys()) if (!kept.has(address)) this.#rows.delete(address);
  }

  /**
   * @param {Sfu[]} sfus
   * @param {Limits} limits
   */
  #showSummary(sfus, limits) {
    const byTone = Map.groupBy(sfus, (sfu) => look(sfu).tone);
    const parts = TONES.filter((tone) => byTone.has(tone)).map((tone) => ({
      tone,
      text: `${count(byTone.get(tone)?.length ?? 0)} ${SUMMARY[tone]}`,
    }));
    const text = parts.map((part) => part.text).join(", ");
    if (this.#summary.dataset.text !== text) {
      this.#summary.dataset.text = text;
      this.#summary.replaceChildren(
        ...parts.map((part) => el("span", {}, shape(part.tone), part.text)),
      );
    }
    const living = sfus.filter((sfu) => sfu.state !== "down");
    const sum = (/** @type {(sfu: Sfu) => number} */ of) => living.reduce((total, sfu) => total + of(sfu), 0);
    const mean = living.length ? sum((sfu) => sfu.load) / living.length : 0;
    const reserved = living.length ? sum((sfu) => sfu.reservedLoad) / living.length : 0;
    const sessions = `${count(sum((sfu) => sfu.sessions))} / ${count(sum((sfu) => sfu.maxSessions))} sessions`;
    setText(this.#figures, living.length ? `${sessions}, mean load ${load(mean)}` : "");
    this.#bar.show(mean, reserved, limits.maxLoad);
  }
}

/**
 * @param {string} name
 * @param {HTMLTableSectionElement} body
 */
function table(name, body) {
  return el("table", { role: "table", "aria-label": `SFUs in ${name}` }, titles(), body);
}

function titles() {
  const cells = COLUMNS.map(([title, key]) =>
    el("th", { scope: "col", role: "columnheader", className: `c-${key}` }, title),
  );
  return el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...cells));
}
