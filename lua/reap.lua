--- @include "attempt_parse"
--- @include "attempt_return"
--- @include "attempt_take"
--- @include "clock"
--- @include "key"
--- @include "learned_read"
--- @include "node_read"
--- @include "node_save"
--- @include "node_set"
--- @include "placement_read"
--- @include "placement_unlock"
--- @include "policy"

-- Ends attempts that never reported: their replica died, or Redis lost the report. Returns their reservations, frees
-- the half-open permit and the lock. The issuer stays with the SFU that the attempt was for: its channel may exist, and
-- its caller may have been answered before the replica died. A few at a time.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many at most
--
-- Returns  {'reaped', count, more due 0|1}
local now = clock(ARGV[1])
local limit = tonumber(ARGV[2])

local due = redis.call('ZRANGEBYSCORE', key('attempts'), '-inf', tostring(now), 'LIMIT', 0, limit + 1)
local learned = #due > 0 and learned_read(now)
for i = 1, math.min(#due, limit) do
  redis.call('ZREM', key('attempts'), due[i])
  local name, tenant, issuer = string.match(due[i], '^(.-:%d+) ([^: ]*):(.*)$')
  local placement = placement_read(tenant, issuer, '')
  local id, reserved, result = string.match(name, '^(.*):'), attempt_take(placement, name)
  redis.call('SET', key('attempt', name), result or 'expired', 'PX', policy.attempt_ttl_ms, 'NX')
  local attempt = attempt_parse(reserved)
  local node = attempt.address ~= '' and node_read(attempt.address)
  if node then
    attempt_return(node, attempt, now)
    if node.permit == id and node.permit_until <= now then
      node_set(node, 'permit', '')
      node_set(node, 'permit_until', 0)
    end
    node_save(node, now, learned)
  end
  if placement.lock_owner == name and placement.lock_expires_at > 0 and placement.lock_expires_at <= now then
    placement_unlock(placement, name, placement.address ~= '')
  end
end
return { 'reaped', math.min(#due, limit), #due > limit and 1 or 0 }
