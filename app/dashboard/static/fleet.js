/** All SFUs by region: filtered, ordered, and those to look at first. */

import { url } from "./api.js";
import { copyButton } from "./copy.js";
import { arrange, byId, el, setText } from "./dom.js";
import { count, plural } from "./format.js";
import { Region, titles } from "./region.js";
import { look, urgency } from "./states.js";

/** @typedef {import("./types.js").Sfu} Sfu */
/** @typedef {import("./types.js").FleetData} FleetData */
/** @typedef {import("./types.js").Tone} Tone */

const COLLAPSE_ABOVE = 150;

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

/** From here on nobody has to look. */
const CALM = urgency("drain");

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
    for (const [name, sfus] of this.#inOrder([...byRegion])) {
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
    setText(
      this.#count,
      isFiltered ? `${count(matches)} of ${total}` : `${total} in ${plural(byRegion.size, "region")}`,
    );
    this.#showEmpty(data, matches);
  }

  /** @param {number} ageMs of the data */
  tick(ageMs) {
    if (!this.#data) return;
    for (const region of this.#regions.values()) region.tick(ageMs, this.#data.limits);
  }

  /**
   * @param {[string, Sfu[]][]} regions by name
   * @returns {[string, Sfu[]][]} those to look at before the others, when trouble is to come first
   */
  #inOrder(regions) {
    if (this.#order.value !== "trouble") return regions;
    const worst = new Map(
      regions.map(([name, sfus]) => [name, Math.min(CALM, ...sfus.map((sfu) => urgency(look(sfu).tone)))]),
    );
    return regions.sort(([a], [b]) => (worst.get(a) ?? CALM) - (worst.get(b) ?? CALM));
  }

  /**
   * @param {string} name
   * @param {Sfu[]} sfus
   */
  #region(name, sfus) {
    let region = this.#regions.get(name);
    if (!region) {
      const isCalm = sfus.every((sfu) => urgency(look(sfu).tone) >= CALM);
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
    const key = data.sfus.length ? "filtered" : data.registration ? "empty" : "closed";
    if (this.#empty.dataset.key === key) return;
    this.#empty.dataset.key = key;
    if (data.sfus.length) {
      this.#empty.replaceChildren(
        el("strong", {}, "No SFU matches"),
        el("p", {}, "Change the filter to see the others."),
      );
    } else this.#empty.replaceChildren(...firstSteps(data.registration));
  }
}

/** @param {boolean} isOpen whether SFUs may register */
function firstSteps(isOpen) {
  const command = `SFU_GATEWAY_URL=${url("").href.replace(/\/$/, "")} sfu-gateway agent --check`;
  const steps = [
    el("p", {}, "Beside an SFU, this says what it still needs. Without --check, the SFU appears here by itself:"),
    el("p", { className: "command" }, el("code", {}, command), copyButton(() => command, "the command")),
    el("p", {}, "SFUs that send no heartbeats are listed in SFU_GATEWAY_NODES. To look around without any: sfu-gateway demo."),
  ];
  const closed = el(
    "p",
    {},
    "Registration is closed. First set SFU_GATEWAY_REGISTRATION__KEY, the same here and beside each SFU.",
  );
  return [el("strong", {}, "No SFU has registered yet"), ...(isOpen ? [] : [closed]), ...steps];
}
