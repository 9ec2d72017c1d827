--- @include "birth"
--- @include "clock"
--- @include "fade"
--- @include "learn"
--- @include "list_node"
--- @include "pace"
--- @include "read_learned"
--- @include "read_node"
--- @include "remember"
--- @include "settle_state"
--- @include "write_hash"

-- Registers an SFU or renews its life (roadmap, phase 1): figures, health deadline, place in the indexes.
--
-- Guarantees: an address belongs to its key while the node lives; a report never wipes reservations whose
-- people are still joining; an `up` event exactly when a life begins; sent twice, it counts once.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  policy (JSON)
-- ARGV[3]  address
-- ARGV[4]  report (JSON): region, channels, sessions, max_sessions, cpu and memory (0..1), public_url,
--          draining, key (sealed), fingerprint, fresh (figures were measured just now), and optionally
--          former_fingerprint (a lease to take over: the caller has compared the keys themselves)
--
-- Returns  {'ok', draining 0|1, generation, new 0|1}
--          {'leased', sealed key of the holder}
--          {'limited', ms to wait}
local now = clock(ARGV[1])
local policy = cjson.decode(ARGV[2])
local address = ARGV[3]
local report = cjson.decode(ARGV[4])

local node = read_node(address, now)
if node and node.fingerprint ~= report.fingerprint and node.fingerprint ~= report.former_fingerprint then
  return { 'leased', node.key }
end

local born
if not node then
  node, born = birth(address, report, now)
end
local wait = pace(node, now, policy)
if wait > 0 then
  return { 'limited', wait }
end

if node.region ~= report.region then
  unlist_node(node)
  redis.call('SREM', key('members', node.region), address)
  redis.call('SREM', key('ejected', node.region), address)
  node.region, node.listed = report.region, 'no'
end

local learned = read_learned(policy)
if report.fresh then
  if not born then
    learn(node, report, now, policy, learned)
  end
  node.channels, node.sessions = report.channels, report.sessions
  node.cpu, node.memory = report.cpu, report.memory
end
node.base = fade(node.joining, node.joining_at, now, learned.join_ms)
node.recent = 0
node.max_sessions, node.public_url = report.max_sessions, report.public_url
node.key, node.fingerprint = report.key, report.fingerprint
node.last_seen, node.deadline = now, now + policy.threshold_ms

if born then
  redis.call('ZREM', key('lost'), address)
  emit(policy, now, 'up', address, node.region, born, node.generation)
end
redis.call('SADD', key('members', node.region), address)
settle_state(node, report, now, policy)
redis.call('ZADD', key('deadlines'), node.deadline, address)
remember(node)
list_node(node, now, policy, learned)

write_hash(key('node', address), node, 'region', 'state', 'breaker', 'channels', 'sessions', 'max_sessions',
  'cpu', 'memory', 'load', 'reserved', 'public_url', 'registered_at', 'since', 'last_seen', 'generation',
  'listed', 'recent', 'base', 'joining', 'joining_at', 'turn', 'trial_until', 'drain_until', 'drained',
  'deadline', 'paced_until', 'key', 'fingerprint')
redis.call('PEXPIRE', key('node', address), policy.threshold_ms)
return { 'ok', node.state == 'draining' and 1 or 0, node.generation, born and 1 or 0 }
