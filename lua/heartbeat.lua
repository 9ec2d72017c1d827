--- @include "clock"
--- @include "decay"
--- @include "instance_compare"
--- @include "key"
--- @include "learned_read"
--- @include "learned_update"
--- @include "node_health"
--- @include "node_read"
--- @include "node_save"
--- @include "node_set"
--- @include "node_settle"
--- @include "policy"
--- @include "rate_limit"

-- Registers an SFU or renews its registration (roadmap, phase 1): figures, health deadline, place in the indexes.
-- Guarantees: an address belongs to its key while the SFU lives; a silent SFU that reports before the sweeper ended it
-- was never down; another process under the same key is a restart in place, two that alternate share an address; a
-- report never wipes reservations whose people are still joining; sent twice, it counts once.
--
-- KEYS[1]   the namespace's prefix
-- ARGV[1]   now in ms, '' for Redis' clock
-- ARGV[2]   address           ARGV[3]  region          ARGV[4]  channels       ARGV[5]  sessions
-- ARGV[6]   max_sessions      ARGV[7]  cpu, 0 to 1     ARGV[8]  memory, 0 to 1 ARGV[9]  public_url
-- ARGV[10]  draining 0|1      ARGV[11] fresh 0|1: the figures were measured just now
-- ARGV[12]  key (sealed)      ARGV[13] fingerprint
-- ARGV[14]  a former fingerprint, or '': a lease to take over (the caller has compared the keys themselves)
-- ARGV[15]  random id of the reporting process, '' for unknown
--
-- Returns  {'ok', draining 0|1, generation, new 0|1, what replicas have seen to be wrong with its set-up}
--          {'leased', sealed key of the registered SFU}
--          {'limited', ms to wait}
local now = clock(ARGV[1])
local address = ARGV[2]
local report = { channels = tonumber(ARGV[4]), sessions = tonumber(ARGV[5]), fresh = ARGV[11] == '1' }

local node = node_read(address)
local returns = node ~= nil
if node and node.down_at > 0 then
  node = nil
elseif node and node.fingerprint ~= ARGV[13] and node.fingerprint ~= ARGV[14] then
  if node_health(node, now) ~= 'expired' then
    return { 'leased', node.key }
  end
  --- @include "node_end"
  node_end(node, 'expired', now)
  node = nil
end
local wait = node and rate_limit(node, now) or 0
if wait > 0 then
  return { 'limited', wait }
end
if node and node.reported_at > now then
  --- @include "node_shift"
  node_shift(node, now)
end

local change = node and instance_compare(node, ARGV[15], now)
if not node or change == 'restarted' then
  local former = node
  --- @include "event_emit"
  --- @include "node_register"
  node = node_register(address, former, now)
  node_set(node, 'instance', ARGV[15])
  node_set(node, 'region', ARGV[3])
  node_set(node, 'announced', 'up')
  rate_limit(node, now)
  local why = former and 'instance' or returns and 'returned' or 'registered'
  event_emit(now, former and 'restarted' or 'up', node, why, 'selectable')
elseif change == 'shared' then
  --- @include "event_emit"
  event_emit(now, 'address_shared', node, 'instance')
end
if node.region ~= ARGV[3] then
  --- @include "node_deindex"
  node_deindex(node)
  node_set(node, 'region', ARGV[3])
  redis.call('HINCRBY', key('fleet'), 'epoch', 1)
end

local learned = learned_read(now)
if report.fresh then
  if node.reported_at > 0 then
    learned = learned_update(node, report, now, learned)
  end
  node_set(node, 'channels', report.channels)
  node_set(node, 'sessions', report.sessions)
  node_set(node, 'cpu', tonumber(ARGV[7]))
  node_set(node, 'memory', tonumber(ARGV[8]))
  if node.ejected_reason == 'failed' and node.failures < policy.failure_threshold then
    node_set(node, 'ejected_reason', '')
  end
end
node_set(node, 'base', decay(node.joining, node.joining_at, now))
node_set(node, 'recent', 0)
node_set(node, 'max_sessions', tonumber(ARGV[6]))
node_set(node, 'public_url', ARGV[9])
node_set(node, 'self_draining', ARGV[10] == '1')
node_set(node, 'key', ARGV[12])
node_set(node, 'fingerprint', ARGV[13])
node_set(node, 'reported_at', now)
node.is_reporting = report.fresh
node_settle(node, report.fresh, now)
redis.call('ZADD', key('deadlines'), tostring(now + policy.threshold_ms), address)
node_save(node, now, learned)
redis.call('PEXPIRE', key('node', address), policy.threshold_ms + policy.lost_ttl_ms)
return { 'ok', (node.operator_drain or node.self_draining) and 1 or 0, node.generation,
  change and change ~= 'restarted' and 0 or 1, redis.call('HGET', key('node', address), 'setup') or '' }
