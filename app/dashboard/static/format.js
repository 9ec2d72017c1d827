/** Numbers and times as people read them. */

const whole = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** @param {number} value */
export const count = (value) => whole.format(Math.round(value));

/** @param {number} value */
export const load = (value) => value.toFixed(2);

/** @param {number} share */
export const percent = (share) => `${Math.round(share * 100)}%`;

/** @param {number} at ms since the epoch */
export const timeOfDay = (at) => clock.format(at);

/** @param {number} at ms since the epoch */
export const dateAndTime = (at) => day.format(at);

/**
 * @param {number} ms
 * @returns {string} in the largest unit that says enough: `8 s`, `4 min`, `2 h`, `3 d`
 */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}
