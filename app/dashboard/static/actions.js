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

export const askResume = plain("resume", "Resume", "It takes new channels again.");

export const askReset = plain(
  "reset",
  "Reset",
  "Its ejection ends and its failures are forgotten: it takes new channels again. A fault that lasts ejects it again.",
);

export const askForget = plain(
  "forget",
  "Forget",
  "Every trace of it is removed: its figures, its breaker, its drain. Its calls lose their place. " +
    "An SFU that still runs is back with its next heartbeat.",
  true,
);

/**
 * @param {"resume" | "reset" | "forget"} action that takes no options
 * @param {string} label
 * @param {string} text what will happen
 * @returns {(address: string, onDone: () => void) => void} what asks for it
 */
function plain(action, label, text, isDangerous = false) {
  return (address, onDone) =>
    ask({
      title: `${label} ${address}?`,
      text,
      confirm: label,
      isDangerous,
      run: async () => {
        await change(action, { address });
        onDone();
      },
    });
}
