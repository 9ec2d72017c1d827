/**
 * The shapes of what the gateway answers. Times in ms, shares from 0 to 1.
 *
 * @typedef {"ok" | "drain" | "warn" | "bad" | "off"} Tone
 *
 * @typedef {object} Sfu
 * @property {string} address
 * @property {string} region
 * @property {"up" | "draining" | "failed" | "misconfigured" | "down"} status
 * @property {string} state selectable, half-open, full, overloaded, ejected, draining, drained, expired, lost, signed-off
 * @property {string} reason why it is in that state, or empty
 * @property {number} load
 * @property {number} reservedLoad the part of `load` that people still on their way will cause
 * @property {[number, number, number]} terms of the load: sessions, CPU, memory
 * @property {number} channels
 * @property {number} sessions
 * @property {number} maxSessions
 * @property {number} reserved
 * @property {number} headroom sessions it still takes
 * @property {number} cpu
 * @property {number} memory
 * @property {number} heartbeatAgeMs
 * @property {number} failures in a row
 * @property {number} ejections for a longer time, of late
 * @property {number} ejectedForMs
 * @property {number} errors since its last success
 * @property {string} lastError
 * @property {number} lastErrorAgoMs
 * @property {boolean} sharedAddress whether two processes report under its address
 * @property {string[]} warnings what is wrong with its set-up, although it creates channels
 * @property {number} drainUntil since the epoch; 0: no deadline
 * @property {Moves | null} moves of a drain that was told to move its calls
 * @property {number} downAt since the epoch; 0: it is not gone
 * @property {number} registeredAt since the epoch
 * @property {string} publicUrl
 *
 * @typedef {object} Moves
 * @property {number} left
 * @property {number} moved
 * @property {number} kept
 * @property {number} failed
 *
 * @typedef {object} Traffic
 * @property {number} channelsLastMinute
 * @property {number[]} channelsByMinute the last hour, oldest first
 * @property {number} refusalsLastMinute
 * @property {Record<string, number>} refusalsLastHour by code, the most frequent first
 *
 * @typedef {object} Limits
 * @property {number} maxLoad
 * @property {number} maxCpu
 * @property {number} maxMemory
 * @property {number} failureThreshold failures in a row from which on an ejection lasts for a time
 * @property {number} pingMs
 * @property {number} unhealthyMs
 * @property {number} lostMs
 *
 * @typedef {object} FleetData `GET /v1/dashboard/data`
 * @property {string} version
 * @property {number} at the replica's clock, since the epoch
 * @property {"available" | "unavailable" | "recovering"} mode
 * @property {number} snapshotSize
 * @property {number} fleetAgeMs how long ago the registry was read
 * @property {boolean} admin whether the operators' routes are open
 * @property {boolean} registration whether SFUs may register
 * @property {boolean} rescue whether Odoo can be asked to move calls
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
 * @property {string} state of the SFU from then on, or empty
 * @property {string} reason
 * @property {number} at since the epoch
 *
 * @typedef {object} Trouble
 * @property {string} code stable; the name of its runbook
 * @property {"error" | "warning"} severity
 * @property {string} what one sentence
 * @property {{kind: "sfu" | "region" | "replica" | "sweeper" | "redis" | "fleet", name: string, region: string}} subject
 * @property {number | null} sinceMs
 * @property {number} calls
 * @property {number} people
 * @property {{lastError: string, agoMs: number | null, count: number, likely: string}} cause
 * @property {string} command
 * @property {string} runbook
 *
 * @typedef {object} Diagnosis `GET /v1/diagnosis`
 * @property {boolean} ok
 * @property {string} summary
 * @property {number} ageMs
 * @property {Trouble[]} troubles the worst first
 *
 * @typedef {object} Candidate
 * @property {string} address
 * @property {string} region
 * @property {string} verdict
 * @property {boolean} hasCall whether the issuer's call is, or was, there
 * @property {number} errors attempts without a channel since the last success
 * @property {string} lastError what the last of them met
 * @property {number} score
 * @property {{sessions: number, cpu: number, memory: number, promised: number}} terms
 * @property {number} group the region group it belongs to, from 1; 0 for none
 *
 * @typedef {object} Explanation `GET /v1/admin/explain`
 * @property {{region: string | null, source: string | null, country: string | null, ignored: boolean}} hint
 * @property {string[][]} groups
 * @property {string} answer where the call goes
 * @property {Candidate[]} candidates the winner first, or else those that refuse the call
 */

export {};
