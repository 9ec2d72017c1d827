--- @include "birth"
--- @include "clock"
--- @include "emit"
--- @include "fade"
--- @include "key"
--- @include "learn"
--- @include "list_node"
--- @include "pace"
--- @include "policy"
--- @include "read_learned"
--- @include "read_node"
--- @include "remember"
--- @include "save_report"
--- @include "settle_state"
--- @include "unlist_node"

-- Registers an SFU or renews its life (roadmap, phase 1): figures, health deadline, place in the indexes.
--
-- Guarantees: an address belongs to its key while the node lives; a report never wipes reservations whose
-- people are still joining; an `up` event exactly when a life begins; sent twice, it counts once.
--
-- KEYS[1]   the namespace's prefix
-- ARGV[1]   now in ms, '' for Redis' clock
-- ARGV[2]   address
-- ARGV[3]   region
-- ARGV[4]   channels
-- ARGV[5]   sessions
-- ARGV[6]   max_sessions
-- ARGV[7]   cpu, 0 to 1
-- ARGV[8]   memory, 0 to 1
-- ARGV[9]   public_url
-- ARGV[10]  draining 0|1
-- ARGV[11]  fresh 0|1: the figures were measured just now
-- ARGV[12]  key (sealed)
-- ARGV[13]  fingerprint
-- ARGV[14]  a former fingerprint, or '': a lease to take over (the caller has compared the keys themselves)
--
-- Returns  {'ok', draining 0|1, generation, new 0|1}
--          {'leased', sealed key of the holder}
--          {'limited', ms to wait}
local now = clock(ARGV[1])
local address = ARGV[2]
local report = {
  region = ARGV[3], channels = ARGV[4], sessions = ARGV[5], max_sessions = ARGV[6], cpu = ARGV[7],
  memory = ARGV[8], public_url = ARGV[9], draining = ARGV[10] == '1', fresh = ARGV[11] == '1',
  key = ARGV[12], fingerprint = ARGV[13],
}

local node, born = read_node(address, now), nil
if node and node.fingerprint ~= report.fingerprint and node.fingerprint ~= ARGV[14] then
  return { 'leased', node.key }
end
local is_new = not node
if is_new then
  node, born = birth(address, report, now)
end
local wait = pace(node, now)
if wait > 0 then
  return { 'limited', wait }
end

if node.region ~= report.region then
  unlist_node(node)
  redis.call('SREM', key('members', node.region), address)
  redis.call('SREM', key('ejected', node.region), address)
  node.region, node.listed = report.region, 'no'
end

local learned = read_learned()
if report.fresh then
  if not born then
    learn(node, report, now, learned)
  end
  node.channels, node.sessions = tonumber(report.channels), tonumber(report.sessions)
  node.cpu, node.memory = tonumber(report.cpu), tonumber(report.memory)
end
node.base = fade(node.joining, node.joining_at, now, learned.join_ms)
node.recent = 0
node.max_sessions = tonumber(report.max_sessions)
node.last_seen, node.deadline = now, now + policy.threshold_ms

if born then
  redis.call('ZREM', key('lost'), address)
  emit(now, 'up', address, node.region, born, node.generation)
end
redis.call('SADD', key('members', node.region), address)
settle_state(node, report, now)
redis.call('ZADD', key('deadlines'), node.deadline, address)
remember(node)
local load = list_node(node, now, learned)
save_report(node, report, load, is_new)
return { 'ok', node.state == 'draining' and 1 or 0, node.generation, born and 1 or 0 }
