/** The figures at the top. */

import { byId, el, setText, svg } from "./dom.js";
import { count, duration, percent, plural } from "./format.js";
import { isEjectedForTime, isLiving, look, urgency } from "./states.js";

/** @typedef {import("./types.js").FleetData} FleetData */
/** @typedef {import("./types.js").Tone} Tone */

const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 22;
const LEAST_MINUTES = 10;

/** @param {string} name */
function tile(name) {
  const root = byId("tiles").querySelector(`[data-tile=${name}]`);
  const figure = root?.querySelector(".figure");
  const note = root?.querySelector(".note");
  if (!(root instanceof HTMLElement) || !figure || !note) throw new Error(`the page has no tile ${name}`);
  return {
    root,
    /**
     * @param {string} value
     * @param {string} remark
     * @param {Tone | ""} [tone]
     */
    show(value, remark, tone = "") {
      setText(figure, value);
      setText(note, remark);
      if (root.dataset.tone !== tone) root.dataset.tone = tone;
    },
  };
}

/** Free shares below which a region's capacity is worth a look, and is an emergency. */
const LOW = 0.1;
const REGIONS_SHOWN = 3;
/** States of SFUs that are well, however loaded: as `sfu_gateway_headroom_ratio` counts. */
const IN_SERVICE = new Set(["selectable", "half-open", "overloaded", "full"]);

export class Tiles {
  #selectable = tile("selectable");
  #ejected = tile("ejected");
  #draining = tile("draining");
  #capacity = tile("capacity");
  #channels = tile("channels");
  #refusals = tile("refusals");
  #mode = tile("mode");
  #line = svg("path", { "vector-effect": "non-scaling-stroke" });
  #tightest = el("ul", { className: "tightest" });
  /** @type {FleetData | null} */
  #data = null;

  constructor() {
    const viewBox = `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`;
    const spark = svg("svg", { class: "spark", viewBox, preserveAspectRatio: "none", "aria-hidden": "true" });
    spark.append(this.#line);
    this.#channels.root.append(spark);
    this.#capacity.root.append(el("dd", {}, this.#tightest));
  }

  /**
   * @param {FleetData} data
   * @param {number} ageMs of the data
   */
  show(data, ageMs) {
    this.#data = data;
    const living = data.sfus.filter(isLiving);
    const selectable = data.sfus.filter((sfu) => sfu.state === "selectable" || sfu.state === "half-open").length;
    const draining = data.sfus.filter((sfu) => sfu.status === "draining");
    const drained = draining.filter((sfu) => sfu.state === "drained").length;
    const lost = data.sfus.filter((sfu) => sfu.state === "lost" || sfu.state === "expired").length;
    const isTroubled = data.sfus.some((sfu) => urgency(look(sfu).tone) <= urgency("warn"));

    this.#selectable.show(
      `${count(selectable)} / ${count(living.length)}`,
      lost ? `${count(lost)} lost` : living.length > selectable ? "SFUs alive" : "all SFUs alive",
      selectable === 0 ? "bad" : isTroubled ? "warn" : "ok",
    );
    this.#draining.show(
      count(draining.length),
      drained ? `${count(drained)} drained` : draining.length ? "keep their calls" : "none",
      draining.length ? "drain" : "",
    );
    this.#showCapacity(data);
    this.#showTraffic(data);
    this.#showMode(data);
    this.tick(ageMs);
  }

  /**
   * Count down to the next return of an SFU.
   *
   * @param {number} ageMs of the data
   */
  tick(ageMs) {
    if (!this.#data) return;
    const { sfus, limits } = this.#data;
    const ejected = sfus.filter((sfu) => sfu.state === "ejected");
    const halfOpen = sfus.filter((sfu) => sfu.state === "half-open").length;
    const timed = ejected.filter((sfu) => isEjectedForTime(sfu, limits)).map((sfu) => sfu.ejectedForMs);
    const next = timed.length ? `next back in ${duration(Math.min(...timed) - ageMs)}` : "until their heartbeat";
    const remark = ejected.length ? next : "none";
    this.#ejected.show(
      count(ejected.length),
      halfOpen ? `${count(halfOpen)} half-open` : remark,
      ejected.length ? "bad" : halfOpen ? "warn" : "",
    );
  }

  /** @param {FleetData} data */
  #showCapacity({ sfus }) {
    const regions = capacityByRegion(sfus);
    const free = regions.reduce((sum, region) => sum + region.free, 0);
    const all = regions.reduce((sum, region) => sum + region.free + region.used, 0);
    const least = regions[0]?.ratio ?? 0;
    this.#capacity.show(
      count(free),
      all ? `sessions free, ${percent(free / all)}` : "no SFU in service",
      least <= 0 ? "bad" : least < LOW ? "warn" : "",
    );
    const lines = regions.slice(0, REGIONS_SHOWN).map(({ name, free, ratio }) => {
      const left = el("span", { className: "left" });
      left.style.width = percent(ratio);
      const tone = ratio <= 0 ? "bad" : ratio < LOW ? "warn" : "";
      return el(
        "li",
        { dataset: { tone } },
        el("span", { className: "name" }, name),
        el("span", { className: "room", "aria-hidden": "true" }, left),
        el("span", { className: "free" }, `${count(free)} free`),
      );
    });
    const key = lines.map((line) => line.textContent).join("\n");
    if (this.#capacity.root.dataset.regions === key) return;
    this.#capacity.root.dataset.regions = key;
    this.#capacity.root.title = regions.map(({ name, free, ratio }) => `${name}: ${count(free)} free, ${percent(ratio)}`).join("\n");
    this.#tightest.replaceChildren(...lines);
  }

  /** @param {FleetData} data */
  #showTraffic({ traffic }) {
    const perHour = Object.values(traffic.refusalsLastHour).reduce((sum, number) => sum + number, 0);
    const [code] = Object.keys(traffic.refusalsLastHour);
    this.#channels.show(count(traffic.channelsLastMinute), "by this replica");
    this.#refusals.show(
      count(traffic.refusalsLastMinute),
      perHour ? `${count(perHour)} this hour, most: ${code}` : "none this hour",
      traffic.refusalsLastMinute ? "bad" : "",
    );
    this.#refusals.root.title = Object.entries(traffic.refusalsLastHour)
      .map(([name, number]) => `${name}: ${number}`)
      .join("\n");
    this.#line.setAttribute("d", sparkline(sinceFirst(traffic.channelsByMinute)));
  }

  /** @param {FleetData} data */
  #showMode({ mode, snapshotSize }) {
    if (mode === "available") this.#mode.show("Registry", "Redis answers", "ok");
    else {
      const why = mode === "unavailable" ? "Redis is away" : "Redis is recovering";
      this.#mode.show("Snapshot", `${why}; ${plural(snapshotSize, "SFU")} known`, "warn");
    }
  }
}

/**
 * @param {import("./types.js").Sfu[]} sfus
 * @returns {{name: string, free: number, used: number, ratio: number}[]} in sessions, the tightest region first
 */
function capacityByRegion(sfus) {
  return [...Map.groupBy(sfus.filter(isLiving), (sfu) => sfu.region)]
    .map(([name, all]) => {
      const free = all.reduce((sum, sfu) => sum + sfu.headroom, 0);
      const used = all
        .filter((sfu) => IN_SERVICE.has(sfu.state))
        .reduce((sum, sfu) => sum + sfu.sessions + sfu.reserved, 0);
      return { name, free, used, ratio: free ? free / (free + used) : 0 };
    })
    .sort((a, b) => a.ratio - b.ratio);
}

/**
 * A replica that has just started shows its own time, not an hour of nothing.
 *
 * @param {number[]} values by minute
 */
function sinceFirst(values) {
  const first = values.findIndex((value) => value > 0);
  return values.slice(first < 0 ? 0 : Math.min(first, values.length - LEAST_MINUTES));
}

/** @param {number[]} values */
function sparkline(values) {
  const highest = Math.max(1, ...values);
  const step = SPARK_WIDTH / (values.length - 1);
  const y = (/** @type {number} */ value) => SPARK_HEIGHT - 1 - (value / highest) * (SPARK_HEIGHT - 2);
  return values.map((value, i) => `${i ? "L" : "M"}${(i * step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
}
