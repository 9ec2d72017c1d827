/** Addresses of SFUs, of which both ends stay readable where room is short. */

import { el } from "./dom.js";

const TAIL = 14;

/**
 * @param {string} address
 * @returns {string} without the scheme, which says little and costs room
 */
export const shortAddress = (address) => address.replace(/^https?:\/\//, "");

/**
 * A button that shows an address. A long one loses its middle.
 *
 * @param {string} address
 */
export function addressButton(address) {
  const text = shortAddress(address);
  const cut = text.length > 2 * TAIL ? text.length - TAIL : text.length;
  return el(
    "button",
    { type: "button", className: "link", title: address },
    el("span", { className: "head" }, text.slice(0, cut)),
    el("span", { className: "tail" }, text.slice(cut)),
  );
}
