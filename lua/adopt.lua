--- @include "clock"
--- @include "key"
--- @include "log_confirmation"
--- @include "policy"
--- @include "read_learned"
--- @include "read_node"
--- @include "read_placement"
--- @include "reserve"
--- @include "save_node"

-- Takes over a placement that a replica made by itself while Redis was away: the issuer keeps its SFU, the
-- SFU's load and its tenant's limit count the channel. Of two placements the one that was confirmed later counts.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  tenant
-- ARGV[3]  issuer
-- ARGV[4]  address
-- ARGV[5]  uuid of the channel
-- ARGV[6]  when the SFU created it, in ms; 0 when nobody knows: then a placement that the registry has stays while
--          its SFU lives or a request holds it
--
-- Returns  {'ok', adopted 0|1}
local now = clock(ARGV[1])
local tenant, issuer, address, uuid, at = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])

redis.call('SET', key('channel', uuid), address, 'PX', policy.affinity_ttl_ms)
local node = read_node(address, now)
local placement = read_placement(tenant, issuer)
local is_settled = placement and placement.holder == '' and placement.confirmed_at >= at
  and read_node(placement.address, now)
if not node or is_settled or at == 0 and placement and placement.held_until > now then
  return { 'ok', 0 }
end
local is_new = at == 0 or now - at < 2 * policy.join_ms -- else its people have come, and heartbeats count them
if is_new and (not placement or placement.address ~= address) then
  local learned = read_learned()
  reserve(node, now, learned)
  save_node(node, now, learned)
end
redis.call('HSET', key('placement', tenant, issuer), 'address', address, 'holder', '', 'attempt', 0,
  'held_until', 0, 'reserved_at', 0, 'uuid', uuid, 'confirmed_at', ARGV[6])
redis.call('ZREM', key('inflight'), tenant .. ':' .. issuer)
redis.call('PEXPIRE', key('placement', tenant, issuer), policy.affinity_ttl_ms)
redis.call('ZADD', key('tenant', tenant), now + policy.affinity_ttl_ms, issuer)
redis.call('PEXPIRE', key('tenant', tenant), policy.affinity_ttl_ms)
log_confirmation(tenant, issuer, address, uuid, ARGV[6])
return { 'ok', 1 }
