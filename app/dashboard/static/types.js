/**
 * The shapes of what the gateway answers. Times in ms, shares from 0 to 1.
 *
 * @typedef {"ok" | "drain" | "warn" | "bad" | "off"} Tone
 *
 * @typedef {object} Sfu
 * @property {string} address
 * @property {string} region
 * @property {"up" | "draining" | "failed" | "misconfigured" | "down"} state
 * @property {string} standing its derived state: `selectable`, or why it takes no new channel
 * @property {string} reason why it is in that state, or empty
 * @property {"closed" | "open" | "half-open"} breaker
 * @property {number} load
 * @property {number} reservedLoad the part of `load` that people still on their way will cause
 * @property {[number, number, number]} terms of the load: sessions, CPU, memory
 * @property {number} channels
 * @property {number} sessions
 * @property {number} maxSessions
 * @property {number} reserved
 * @property {number} cpu
 * @property {number} memory
 * @property {number} heartbeatAgeMs
 * @property {number} failures in a row
 * @property {number} opens times the breaker has opened in a row
 * @property {number} openForMs
 * @property {number} drainUntil since the epoch; 0: no deadline
 * @property {boolean} drained
 * @property {number} downAt since the epoch
 * @property {string} downReason
 * @property {number} registeredAt since the epoch
 * @property {string} publicUrl
 *
 * @typedef {object} Traffic
 * @property {number} channelsLastMinute
 * @property {number[]} channelsByMinute the last hour, oldest first
 * @property {number} refusalsLastMinute
 * @property {Record<string, number>} refusalsLastHour by code, the most frequent first
 *
 * @typedef {object} Limits
 * @property {number} maxLoad
 * @property {number} pingMs
 * @property {number} unhealthyMs
 * @property {number} lostMs
 *
 * @typedef {object} FleetData `GET /v1/dashboard/data`
 * @property {string} version
 * @property {number} at the replica's clock, since the epoch
 * @property {"registry" | "away" | "returning"} mode
 * @property {number} snapshotSize
 * @property {number} fleetAgeMs how long ago the registry was read
 * @property {boolean} admin whether the operators' routes are open
 * @property {Limits} limits
 * @property {Traffic} traffic
 * @property {Sfu[]} sfus
 *
 * @typedef {object} Series `GET /v1/dashboard/history`
 * @property {number} stepMs
 * @property {(number | null)[]} load oldest first
 * @property {(number | null)[]} sessions
 * @property {(number | null)[]} channels
 *
 * @typedef {object} FleetEvent one of `GET /v1/events`
 * @property {string} id
 * @property {string} type
 * @property {string} address
 * @property {string} region
 * @property {string} reason
 * @property {number} at since the epoch
 *
 * @typedef {object} Candidate
 * @property {string} address
 * @property {string} region
 * @property {string} verdict
 * @property {number} score
 * @property {{sessions: number, cpu: number, memory: number, promised: number}} terms
 * @property {number} group the region group it belongs to, from 1; 0 for none
 *
 * @typedef {object} Explanation `GET /v1/admin/explain`
 * @property {{region: string | null, source: string | null, country: string | null, ignored: boolean}} hint
 * @property {string[][]} groups
 * @property {Candidate[]} candidates
 */

export {};
