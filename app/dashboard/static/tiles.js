/** The six figures at the top. */

import { byId, setText, svg } from "./dom.js";
import { count, duration, plural } from "./format.js";
import { look, urgency } from "./states.js";

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

export class Tiles {
  #selectable = tile("selectable");
  #draining = tile("draining");
  #breakers = tile("breakers");
  #channels = tile("channels");
  #refusals = tile("refusals");
  #mode = tile("mode");
  #line = svg("path", { "vector-effect": "non-scaling-stroke" });
  /** @type {FleetData | null} */
  #data = null;

  constructor() {
    const viewBox = `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`;
    const spark = svg("svg", { class: "spark", viewBox, preserveAspectRatio: "none", "aria-hidden": "true" });
    spark.append(this.#line);
    this.#channels.root.append(spark);
  }

  /** @param {FleetData} data */
  show(data) {
    this.#data = data;
    const living = data.sfus.filter((sfu) => sfu.state !== "down");
    const selectable = data.sfus.filter((sfu) => sfu.standing === "selectable" || sfu.standing === "half-open").length;
    const draining = data.sfus.filter((sfu) => sfu.state === "draining");
    const drained = draining.filter((sfu) => sfu.drained).length;
    const lost = data.sfus.filter((sfu) => look(sfu).tone === "bad" && sfu.state === "down").length;
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
    this.#showTraffic(data);
    this.#showMode(data);
    this.tick(0);
  }

  /**
   * Count down to the next recovery.
   *
   * @param {number} sinceMs since the data came
   */
  tick(sinceMs) {
    if (!this.#data) return;
    const { sfus, fleetAgeMs } = this.#data;
    const open = sfus.filter((sfu) => sfu.breaker === "open" && sfu.state !== "down");
    const halfOpen = sfus.filter((sfu) => sfu.breaker === "half-open").length;
    const next = Math.min(...open.map((sfu) => sfu.openForMs)) - fleetAgeMs - sinceMs;
    const remark = open.length ? (next > 0 ? `next probe in ${duration(next)}` : "probing") : "none";
    this.#breakers.show(
      count(open.length),
      halfOpen ? `${count(halfOpen)} half-open` : remark,
      open.length ? "bad" : halfOpen ? "warn" : "",
    );
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
    if (mode === "registry") this.#mode.show("Registry", "Redis answers", "ok");
    else {
      const why = mode === "away" ? "Redis is away" : "Redis is returning";
      this.#mode.show("Snapshot", `${why}; ${plural(snapshotSize, "SFU")} known`, "warn");
    }
  }
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
