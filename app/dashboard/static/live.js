/** What keeps the page live: a periodic read, and the stream of events that asks for one at once. */

import { fetchFleet, url } from "./api.js";

const INTERVAL_MS = 2_000;
const PAUSE_PER_READ = 10;
const SOON_MS = 150;
const SILENCE_MS = 40_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;

/** @param {number} ms */
const jittered = (ms) => ms * (0.75 + Math.random() / 2);

/** Reads the fleet every two seconds; less often where reading takes long, not at all in a hidden tab. */
export class Poller {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #isReading = false;
  #isWanted = false;
  #intervalMs = INTERVAL_MS;

  /**
   * @param {(data: import("./types.js").FleetData) => void} onData
   * @param {(problem: unknown) => void} onProblem
   */
  constructor(onData, onProblem) {
    this.onData = onData;
    this.onProblem = onProblem;
    document.addEventListener("visibilitychange", () => document.hidden || this.read());
  }

  /** How long after a read the next one is due, in ms. */
  get intervalMs() {
    return this.#intervalMs;
  }

  /** Something happened: do not wait for the next turn. */
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
    const started = performance.now();
    try {
      this.onData(await fetchFleet());
    } catch (problem) {
      this.onProblem(problem);
    }
    this.#isReading = false;
    this.#intervalMs = Math.max(INTERVAL_MS, (performance.now() - started) * PAUSE_PER_READ);
    this.#plan(this.#isWanted ? SOON_MS : this.#intervalMs);
    this.#isWanted = false;
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
        headers: { Accept: "text/event-stream", "Last-Event-ID": this.#lastId },
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
