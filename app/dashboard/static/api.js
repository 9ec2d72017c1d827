/** Requests to the replica that served this page, wherever a proxy has put it. */

const ROOT = new URL("../", import.meta.url);
const TOKEN = "sfu-gateway-admin-token";
const TIMEOUT_MS = 10_000;

/** The gateway refused or could not answer: its problem document (RFC 9457), as an error. */
export class Problem extends Error {
  /**
   * @param {number} status 0 when nothing was answered
   * @param {string} code stable
   * @param {string} message for people
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The admin token. It lives in this tab only, and goes with it. */
export const token = {
  /** @returns {string} */
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  /** @param {string} value */
  set(value) {
    sessionStorage.setItem(TOKEN, value);
    document.dispatchEvent(new Event("tokenchange"));
  },
  forget() {
    sessionStorage.removeItem(TOKEN);
    document.dispatchEvent(new Event("tokenchange"));
  },
};

/**
 * @param {string} path relative to the gateway's base
 * @param {Record<string, string>} [query] empty values are left out
 * @returns {URL}
 */
export function url(path, query = {}) {
  const target = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) if (value) target.searchParams.set(name, value);
  return target;
}

/**
 * @param {URL} target
 * @param {{method?: string, headers?: Record<string, string>, body?: string}} [options]
 * @returns {Promise<any>}
 */
async function request(target, options = {}) {
  let answer;
  let text;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const headers = { ...authorization(), ...options.headers };
    answer = await fetch(target, { cache: "no-store", signal, ...options, headers });
    text = await answer.text();
  } catch {
    throw new Problem(0, "unreachable", "The gateway does not answer.");
  }
  const document = parsed(text);
  if (answer.ok && document) return document;
  const detail = document?.detail ?? `The gateway answered with status ${answer.status}.`;
  throw new Problem(answer.status, document?.code ?? "http_error", detail);
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a proxy's own page
  }
}

/**
 * What shows that an operator asks, once the admin token was given. It is sent to this gateway only.
 *
 * @returns {Record<string, string>}
 */
export const authorization = () => (token.get() ? { Authorization: `Bearer ${token.get()}` } : {});

/** @returns {Promise<import("./types.js").FleetData>} */
export const fetchFleet = () => request(url("v1/dashboard/data"));

/** @returns {Promise<import("./types.js").Diagnosis>} */
export const fetchDiagnosis = () => request(url("v1/diagnosis"));

/**
 * @param {string} address
 * @returns {Promise<import("./types.js").Series>}
 */
export const fetchHistory = (address) => request(url("v1/dashboard/history", { address }));

/**
 * @param {Record<string, string>} hints
 * @returns {Promise<import("./types.js").Explanation>}
 */
export const explain = (hints) => request(url("v1/admin/explain", hints));

/**
 * @param {"drain" | "resume" | "forget" | "reset"} action
 * @param {{address: string, deadlineMs?: number, move?: boolean}} document
 */
export const change = (action, document) =>
  request(url(`v1/admin/sfus/${action}`), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(document),
  });
