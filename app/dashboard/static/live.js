/** What keeps the page live: a periodic read, and the stream of events that asks for one at once. */

import { authorization, fetchDiagnosis, fetchFleet, Problem, url } from "./api.js";

/** @typedef {import("./types.js").Diagnosis} Diagnosis */
/** @typedef {import("./types.js").FleetData} FleetData */

const INTERVAL_MS = 2_000;
const LONGEST_INTERVAL_MS = 10_000;
const MS_PER_SFU = 1;
const GRACE_MS = 4_000;
const RESUME_MS = 4_000;
const SOON_MS = 150;
const SILENCE_MS = 40_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;

/** @param {number} ms */
const jittered = (ms) => ms * (0.75 + Math.random() / 2);

/** Time since it was made, in ms. A clock that stands still while the computer sleeps cannot hide any of it. */
export class Stopwatch {
  #steady = performance.now();
  #wall = Date.now();

  get ms() {
    return Math.max(performance.now() - this.#steady, Date.now() - this.#wall);
  }
}

/**
 * Reads the fleet every two seconds, a large one more rarely, and not at all in a hidden tab. How long a read takes,
 * and whether it fails, changes neither the interval nor the age from which data is stale.
 */
export class Poller {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #isReading = false;
  #isWanted = false;
  #intervalMs = INTERVAL_MS;
  #since = new Stopwatch();
  #isResuming = false;
  #resumed = new Stopwatch();

  /**
   * @param {(data: FleetData, diagnosis: Diagnosis | null) => void} onData
   * @param {(problem: Problem | null) => void} onEnd of each read, after `onData`
   */
  constructor(onData, onEnd) {
    this.onData = onData;
    this.onEnd = onEnd;
    document.addEventListener("visibilitychange", () => {
      this.#isResuming = true;
      this.#resumed = new Stopwatch();
      if (!document.hidden) this.read();
    });
  }

  /** Age of the newest data, in ms: since its request began. Without data, since the page began. */
  get ageMs() {
    return this.#since.ms;
  }

  /** How long after a read the next one is due, in ms. */
  get intervalMs() {
    return this.#intervalMs;
  }

  /** From which age on data is stale, in ms. A replica reads a large fleet as rarely as the page does. */
  get staleAfterMs() {
    return 2 * this.#intervalMs + GRACE_MS;
  }

  /** Whether nobody looks, or the first read since somebody does again is under way. */
  get isPaused() {
    return document.hidden || (this.#isResuming && this.#resumed.ms < RESUME_MS);
  }

  /** Something happened: do not wait until the next read is due. */
  hurry() {
    this.#plan(SOON_MS);
  }

  /** Read now; when a read is under way, once more after it. */
  async read() {
    if (this.#isReading) {
      this.#isWanted = true;
      return;
    }
    this.#isReading = true;
    this.#isWanted = false;
    const problem = await this.#readOnce();
    this.#isReading = false;
    this.#isResuming = false;
    this.#plan(this.#isWanted ? SOON_MS : this.#intervalMs);
    this.onEnd(problem);
  }

  /** @returns {Promise<Problem | null>} why there is no new data */
  async #readOnce() {
    const started = new Stopwatch();
    try {
      const [data, diagnosis] = await Promise.all([fetchFleet(), fetchDiagnosis().catch(() => null)]);
      this.#intervalMs = Math.min(LONGEST_INTERVAL_MS, Math.max(INTERVAL_MS, data.sfus.length * MS_PER_SFU));
      this.onData(data, diagnosis);
    } catch (problem) {
      if (problem instanceof Problem) return problem;
      reportError(problem);
      return new Problem(0, "page", "This page cannot show what the gateway answers. Reload it.");
    }
    this.#since = started;
    return null;
  }

  /** @param {number} ms */
  #plan(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (document.hidden ? this.#plan(this.#intervalMs) : this.read()), ms);
  }
}

/**
 * The gateway's server-sent events, over `fetch`: unlike `EventSource` it can begin in the past, notices a
 * connection that has gone silent, and comes back after any answer, a proxy's 502 included.
 */
export class EventStream {
  #lastId;
  #retryMs = FIRST_RETRY_MS;

  /**
   * @param {string} after stream id after which events are wanted
   * @param {(event: import("./types.js").FleetEvent) => void} onEvent
   * @param {(isOpen: boolean) => void} onChange
   */
  constructor(after, onEvent, onChange) {
    this.#lastId = after;
    this.onEvent = onEvent;
    this.onChange = onChange;
  }

  /** Follow the stream for as long as the page is open. */
  async follow() {
    for (;;) {
      try {
        await this.#followOnce();
      } catch {
        // Whatever ended it, the way on is the same: come back a little later.
      }
      this.onChange(false);
      await new Promise((resolve) => setTimeout(resolve, jittered(this.#retryMs)));
      this.#retryMs = Math.min(LONGEST_RETRY_MS, this.#retryMs * 2);
    }
  }

  async #followOnce() {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const answer = await fetch(url("v1/events"), {
        cache: "no-store",
        headers: { ...authorization(), Accept: "text/event-stream", "Last-Event-ID": this.#lastId },
        signal: silence.signal,
      });
      if (!answer.ok || !answer.body) throw new Error(`status ${answer.status}`);
      this.#retryMs = FIRST_RETRY_MS;
      this.onChange(true);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        const frames = (rest + value).split("\n\n");
        rest = frames.pop() ?? "";
        frames.forEach((frame) => this.#take(frame));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {string} frame */
  #take(frame) {
    const data = frame.split("\n").find((line) => line.startsWith("data: "));
    if (!data) return;
    /** @type {import("./types.js").FleetEvent} */
    const event = JSON.parse(data.slice("data: ".length));
    this.#lastId = event.id;
    this.onEvent(event);
  }
}
