/** The explain panel: where the next channel would go, and why not elsewhere. */

import { addressButton } from "./address.js";
import { explain, Problem, token } from "./api.js";
import { ask } from "./ask.js";
import { byId, el, shape } from "./dom.js";
import { count, load, plural } from "./format.js";
import { verdictLook } from "./states.js";

/** @typedef {import("./types.js").Candidate} Candidate */
/** @typedef {import("./types.js").Explanation} Explanation */

const SHOWN = 50;
const WINNERS = new Set(["chosen", "sticky", "last-resort"]);

export class ExplainPanel {
  #form = /** @type {HTMLFormElement} */ (byId("explain-form"));
  #result = byId("explain-result");
  #regions = byId("region-names");
  #known = "";

  /** @param {(address: string) => void} onOpen */
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** @param {import("./types.js").FleetData} data */
  show(data) {
    const names = [...new Set(data.sfus.map((sfu) => sfu.region))];
    if (names.join() === this.#known) return;
    this.#known = names.join();
    this.#regions.replaceChildren(...names.map((value) => el("option", { value })));
  }

  async #submit() {
    if (!token.get()) return this.#askForToken();
    try {
      await this.#run();
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 401) {
        token.forget();
        return this.#askForToken();
      }
      const text = problem instanceof Problem ? problem.message : String(problem);
      this.#result.replaceChildren(el("p", { className: "error" }, text));
    }
  }

  #askForToken() {
    ask({
      title: "Explain a placement",
      text: "Explanations are for operators. Nothing is changed by one.",
      confirm: "Explain",
      run: () => this.#run(),
    });
  }

  async #run() {
    const hints = Object.fromEntries(
      [...new FormData(this.#form)].map(([name, value]) => [name, String(value).trim()]),
    );
    this.#render(await explain(hints));
  }

  /** @param {Explanation} explanation */
  #render(explanation) {
    const { answer, candidates } = explanation;
    const hasWinner = candidates.some(({ verdict }) => WINNERS.has(verdict));
    const parts = [
      el("p", { className: "answer", dataset: { tone: hasWinner ? "ok" : "bad" } }, answer),
      el("p", { className: "hint" }, hintText(explanation)),
    ];
    const items = candidates.slice(0, SHOWN).map((candidate) => this.#item(candidate));
    const list = el("ol", { className: "candidates" }, ...items);
    this.#result.replaceChildren(...parts, list);
    if (candidates.length > SHOWN) this.#result.append(restText(candidates.slice(SHOWN)));
  }

  /** @param {Candidate} candidate */
  #item(candidate) {
    const { tone, label } = verdictLook(candidate.verdict);
    const hadCall = candidate.hasCall && candidate.verdict !== "sticky";
    const error = candidate.errors ? `${count(candidate.errors)} x ${candidate.lastError}` : "";
    const open = addressButton(candidate.address);
    open.addEventListener("click", () => this.onOpen(candidate.address));
    const score = el("span", { className: "score" }, load(candidate.score));
    const { sessions, cpu, memory, promised } = candidate.terms;
    const measured = `${load(sessions)} sessions + ${load(cpu)} CPU + ${load(memory)} memory`;
    score.title = `${measured} + ${load(promised)} CPU and memory for people who are still joining`;
    return el(
      "li",
      { dataset: { tone, verdict: candidate.verdict } },
      el("span", { className: "who" }, open, candidate.region + (hadCall ? ", had the call" : ""), error),
      score,
      el("span", { className: "verdict" }, shape(tone), label),
    );
  }
}

/** @param {Explanation} explanation */
function hintText({ hint, groups }) {
  const source = hint.source ? `, from the ${hint.source} hint` : "";
  const said = hint.region
    ? `Preferred region: ${hint.country ? `${hint.country}, so ` : ""}${hint.region}${source}.`
    : hint.ignored
      ? "The hint names no known region or country and is ignored."
      : "No region hint.";
  const order = groups
    .map((group) => (group.includes("*") ? "anywhere" : group.join(" or ")))
    .join(", then ");
  return `${said} Tried in this order: ${order}.`;
}

/** @param {Candidate[]} rest */
function restText(rest) {
  const byLabel = Map.groupBy(rest, (candidate) => verdictLook(candidate.verdict).label);
  const parts = [...byLabel].map(([label, group]) => `${label.toLowerCase()} ${count(group.length)}`);
  return el("p", { className: "dim" }, `And ${plural(rest.length, "more", "more")}: ${parts.join(", ")}.`);
}
