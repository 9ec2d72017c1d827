/** The SFUs of one region: a table that changes in place and is never longer than needed. */

import { Bar } from "./bar.js";
import { arrange, el, setText, shape } from "./dom.js";
import { count, load } from "./format.js";
import { COLUMNS, Row } from "./row.js";
import { isLiving, look, TONES } from "./states.js";

/** @typedef {import("./types.js").Sfu} Sfu */
/** @typedef {import("./types.js").Limits} Limits */
/** @typedef {import("./types.js").Tone} Tone */

const PAGE = 100;

/** @type {Record<Tone, string>} */
const SUMMARY = { bad: "out", warn: "limited", drain: "draining", ok: "selectable", off: "signed off" };

export class Region {
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
    this.#toggle = el(
      "button",
      { type: "button", className: "toggle" },
      el("i", { "aria-hidden": "true" }),
      name,
    );
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
    this.element = el(
      "section",
      { className: "region", "aria-label": `Region ${name}` },
      head,
      this.#table,
      this.#more,
    );
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
    arrange(
      this.#body,
      this.#shown.map((row) => row.element),
    );
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
      this.#summary.replaceChildren(...parts.map((part) => el("span", {}, shape(part.tone), part.text)));
    }
    const living = sfus.filter(isLiving);
    const sum = (/** @type {(sfu: Sfu) => number} */ of) => living.reduce((total, sfu) => total + of(sfu), 0);
    const mean = living.length ? sum((sfu) => sfu.load) / living.length : 0;
    const reserved = living.length ? sum((sfu) => sfu.reservedLoad) / living.length : 0;
    const sessions = `${count(sum((sfu) => sfu.sessions))} / ${count(sum((sfu) => sfu.maxSessions))} sessions`;
    const free = `${count(sum((sfu) => sfu.headroom))} free`;
    setText(this.#figures, living.length ? `${sessions}, ${free}, mean load ${load(mean)}` : "");
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

/** A row of column titles. */
export function titles() {
  const cells = COLUMNS.map(([title, key]) =>
    el("th", { scope: "col", role: "columnheader", className: `c-${key}` }, title),
  );
  return el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...cells));
}
