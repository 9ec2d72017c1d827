/** What an operator can do with one SFU. Each action asks back first. */

import { change } from "./api.js";
import { ask } from "./ask.js";
import { el } from "./dom.js";

/** @type {[string, number][]} */
const DEADLINES = [
  ["No deadline", 0],
  ["15 minutes", 15],
  ["1 hour", 60],
  ["4 hours", 240],
  ["24 hours", 1440],
];

/**
 * @param {string} address
 * @param {() => void} onDone
 */
export function askDrain(address, onDone) {
  const options = DEADLINES.map(([text, minutes]) => el("option", { value: String(minutes) }, text));
  const deadline = el("select", { name: "deadline" }, ...options);
  ask({
    title: `Drain ${address}?`,
    text:
      "It takes no new channels from now on and keeps the calls it has. " +
      "After the deadline it does not keep them either. You can resume it at any time.",
    confirm: "Drain",
    fields: [el("label", {}, "Deadline", deadline)],
    run: async () => {
      await change("drain", { address, deadlineMs: Number(deadline.value) * 60_000 });
      onDone();
    },
  });
}

/**
 * @param {string} address
 * @param {number} deadlineMs what is left of a drain's deadline; 0 for no deadline
 * @param {() => void} onDone
 */
export function askMove(address, deadlineMs, onDone) {
  ask({
    title: `Move the calls of ${address}?`,
    text:
      "It takes no new channels from now on, and Odoo is asked to move its calls to other SFUs. " +
      "Their people notice a short pause. A call that Odoo cannot move stays.",
    confirm: "Move calls",
    run: async () => {
      await change("drain", { address, deadlineMs, move: true });
      onDone();
    },
  });
}

/**
 * @param {string} address
 * @param {() => void} onDone
 */
export function askResume(address, onDone) {
  ask({
    title: `Resume ${address}?`,
    text: "It takes new channels again.",
    confirm: "Resume",
    run: async () => {
      await change("resume", { address });
      onDone();
    },
  });
}

/**
 * @param {string} address
 * @param {() => void} onDone
 */
export function askReset(address, onDone) {
  ask({
    title: `Reset ${address}?`,
    text: "Its ejection ends and its failures are forgotten: it takes new channels again. A fault that lasts ejects it again.",
    confirm: "Reset",
    run: async () => {
      await change("reset", { address });
      onDone();
    },
  });
}

/**
 * @param {string} address
 * @param {() => void} onDone
 */
export function askForget(address, onDone) {
  ask({
    title: `Forget ${address}?`,
    text:
      "Every trace of it is removed: its figures, its breaker, its drain. Its calls lose their place. " +
      "An SFU that still runs is back with its next heartbeat.",
    confirm: "Forget",
    isDangerous: true,
    run: async () => {
      await change("forget", { address });
      onDone();
    },
  });
}
