/** A small plot of the last hour. */

import { el, setText, svg } from "./dom.js";
import { timeOfDay } from "./format.js";

const WIDTH = 400;
const HEIGHT = 56;

export class Plot {
  #now = el("span", { className: "now" });
  #scale = el("span", { className: "scale" });
  #line = svg("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  #area = svg("path", { class: "area" });
  #cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
  #chart;
  /** @type {(number | null)[]} */
  #values = [];
  #stepMs = 0;
  #endAt = 0;

  /**
   * @param {string} title
   * @param {(value: number) => string} format
   */
  constructor(title, format) {
    this.title = title;
    this.format = format;
    this.#chart = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.#area,
      this.#line,
      this.#cursor,
    );
    const caption = el("figcaption", {}, el("span", {}, title), this.#scale, this.#now);
    this.element = el("figure", { className: "plot" }, caption, this.#chart);
    this.#chart.addEventListener("pointermove", (event) => this.#point(/** @type {PointerEvent} */ (event)));
    this.#chart.addEventListener("pointerleave", () => this.#point(null));
    this.#point(null);
  }

  /**
   * @param {(number | null)[]} values oldest first
   * @param {number} stepMs
   * @param {number} endAt time of the last one, since the epoch
   * @param {number} least the axis reaches at least to this
   */
  show(values, stepMs, endAt, least) {
    [this.#values, this.#stepMs, this.#endAt] = [values, stepMs, endAt];
    const known = values.filter((value) => value !== null);
    const top = Math.max(least, ...known) * 1.08;
    const runs = split(values).map((run) =>
      run.map(
        ([index, value]) => `${x(index, values.length)} ${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}`,
      ),
    );
    this.#line.setAttribute("d", runs.map((points) => `M${dot(points).join("L")}`).join(""));
    this.#area.setAttribute("d", runs.map(area).join(""));
    this.#describe(known);
    this.#point(null);
  }

  /** @param {number[]} known */
  #describe(known) {
    const text = known.length
      ? `lowest ${this.format(Math.min(...known))}, highest ${this.format(Math.max(...known))}`
      : "nothing sampled yet";
    setText(this.#scale, text);
    const now = known.at(-1);
    const label = now === undefined ? text : `now ${this.format(now)}, ${text}`;
    this.#chart.setAttribute("aria-label", `${this.title}, last hour: ${label}`);
  }

  /** @param {PointerEvent | null} event */
  #point(event) {
    const last = this.#values.length - 1;
    const box = this.#chart.getBoundingClientRect();
    const index = event && box.width ? Math.round(((event.clientX - box.left) / box.width) * last) : last;
    const value = this.#values[Math.min(last, Math.max(0, index))];
    const at = event ? ` at ${timeOfDay(this.#endAt - (last - index) * this.#stepMs)}` : "";
    setText(this.#now, value == null ? (event ? `unknown${at}` : "") : `${this.format(value)}${at}`);
    this.#cursor.setAttribute("visibility", event ? "visible" : "hidden");
    for (const end of ["x1", "x2"]) this.#cursor.setAttribute(end, x(index, this.#values.length));
  }
}

/**
 * @param {number} index
 * @param {number} length
 */
const x = (index, length) => ((index / Math.max(1, length - 1)) * WIDTH).toFixed(1);

/**
 * A line needs two points; a lone value becomes a dot.
 *
 * @param {string[]} points
 */
const dot = (points) => (points.length > 1 ? points : [...points, ...points]);

/** @param {string[]} points */
function area(points) {
  const first = points[0].split(" ")[0];
  const last = points[points.length - 1].split(" ")[0];
  return `M${first} ${HEIGHT}L${points.join("L")}L${last} ${HEIGHT}Z`;
}

/**
 * @param {(number | null)[]} values
 * @returns {[number, number][][]} runs of known values with their indexes
 */
function split(values) {
  /** @type {[number, number][][]} */
  const runs = [];
  let isOpen = false;
  values.forEach((value, index) => {
    if (value === null) isOpen = false;
    else if (isOpen) runs[runs.length - 1].push([index, value]);
    else {
      runs.push([[index, value]]);
      isOpen = true;
    }
  });
  return runs;
}
