/** What is wrong, the worst first, as `sfu-gateway why` says it; one green line when nothing is. */

import { addressButton } from "./address.js";
import { url } from "./api.js";
import { copyButton } from "./copy.js";
import { arrange, byId, el, setShape, setText, shape } from "./dom.js";
import { count, duration, plural } from "./format.js";

/** @typedef {import("./types.js").Diagnosis} Diagnosis */
/** @typedef {import("./types.js").Trouble} Trouble */
/** @typedef {import("./types.js").Tone} Tone */

/** As many as leave room for the fleet. */
const SHOWN = matchMedia("(max-width: 760px)").matches ? 2 : 5;

export class DiagnosisPanel {
  #root = byId("diagnosis");
  #shape = shape("off");
  #summary = byId("diagnosis-summary");
  #list = byId("troubles");
  #more = el("button", { type: "button", className: "quiet more", hidden: true });
  #isWhole = false;
  /** @type {Diagnosis | null} */
  #diagnosis = null;
  /** @type {Map<string, Line>} */
  #lines = new Map();

  /** @param {(address: string) => void} onOpen */
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.#summary.before(this.#shape);
    this.#root.append(this.#more);
    this.#more.addEventListener("click", () => {
      this.#isWhole = !this.#isWhole;
      this.show(this.#diagnosis, 0);
    });
  }

  /**
   * @param {Diagnosis | null} diagnosis null where the gateway gave none
   * @param {number} ageMs of it
   */
  show(diagnosis, ageMs) {
    this.#diagnosis = diagnosis;
    this.#root.hidden = diagnosis === null;
    if (!diagnosis) return;
    const { ok, summary, troubles } = diagnosis;
    const tone = ok ? "ok" : troubles.some(({ severity }) => severity === "error") ? "bad" : "warn";
    this.#root.dataset.tone = tone;
    setShape(this.#shape, tone);
    setText(this.#summary, `${ok ? "Nothing is wrong" : plural(troubles.length, "trouble")}: ${summary}`);
    this.#showLines(this.#isWhole ? troubles : troubles.slice(0, SHOWN), ageMs);
    this.#more.hidden = troubles.length <= SHOWN;
    setText(this.#more, this.#isWhole ? `Show the worst ${SHOWN}` : `Show all ${count(troubles.length)}`);
  }

  /** @param {number} ageMs of the diagnosis */
  tick(ageMs) {
    for (const line of this.#lines.values()) line.tick(ageMs);
  }

  /**
   * A line stays the same element while its trouble lasts: a click finds the button that it was meant for.
   *
   * @param {Trouble[]} troubles
   * @param {number} ageMs
   */
  #showLines(troubles, ageMs) {
    /** @type {Map<string, Line>} */
    const lines = new Map();
    for (const trouble of troubles) {
      const key = `${trouble.code} ${trouble.subject.name} ${trouble.subject.region}`;
      const line = this.#lines.get(key) ?? new Line(trouble, this.onOpen);
      line.show(trouble, ageMs);
      lines.set(key, line);
    }
    this.#lines = lines;
    arrange(
      this.#list,
      [...lines.values()].map((line) => line.element),
    );
  }
}

/** One trouble. */
class Line {
  #what = el("span");
  #detail = el("p", { className: "detail" });
  #command = el("code");

  /**
   * @param {Trouble} trouble
   * @param {(address: string) => void} onOpen
   */
  constructor(trouble, onOpen) {
    this.trouble = trouble;
    const { code, severity } = trouble;
    const tone = severity === "error" ? "bad" : "warn";
    const runbook = el("a", { href: url(`dashboard/runbooks/${code}`).href, target: "_blank" }, "Runbook");
    runbook.append(el("span", { className: "sr-only" }, ` ${code}`));
    this.element = el(
      "li",
      { dataset: { tone, code } },
      shape(tone),
      el("div", {}, el("p", { className: "trouble" }, subjectOf(trouble, onOpen), this.#what), this.#detail),
      el(
        "div",
        { className: "first-step" },
        this.#command,
        copyButton(() => this.trouble.command, "the command"),
        runbook,
      ),
    );
  }

  /**
   * @param {Trouble} trouble
   * @param {number} ageMs
   */
  show(trouble, ageMs) {
    this.trouble = trouble;
    setText(this.#what, trouble.what);
    setText(this.#command, trouble.command);
    this.#command.title = trouble.command;
    this.tick(ageMs);
  }

  /** @param {number} ageMs */
  tick(ageMs) {
    const { sinceMs, calls, people } = this.trouble;
    const parts = [
      sinceMs === null ? "" : `for ${duration(sinceMs + ageMs)}`,
      calls || people ? `${plural(calls, "call")}, ${plural(people, "person", "people")}` : "",
      errorText(this.trouble, ageMs),
      this.trouble.cause.likely,
    ];
    setText(this.#detail, parts.filter(Boolean).join(" · "));
  }
}

/** @type {Record<Trouble["subject"]["kind"], string>} */
const KINDS = {
  sfu: "SFU",
  region: "Region",
  replica: "Replica",
  sweeper: "Sweeper",
  redis: "Redis",
  fleet: "Fleet",
};

/**
 * @param {Trouble} trouble
 * @param {(address: string) => void} onOpen
 */
function subjectOf({ subject }, onOpen) {
  const { kind, name, region } = subject;
  if (kind !== "sfu") return el("strong", {}, `${KINDS[kind]} ${name || region}`.trim());
  const open = addressButton(name);
  open.addEventListener("click", () => onOpen(name));
  return open;
}

/**
 * @param {Trouble} trouble
 * @param {number} ageMs
 */
function errorText({ cause }, ageMs) {
  if (!cause.lastError) return "";
  const when = cause.agoMs === null ? "" : `, ${duration(cause.agoMs + ageMs)} ago`;
  return `${cause.lastError}${when}${cause.count > 1 ? `, ${count(cause.count)} times` : ""}`;
}
