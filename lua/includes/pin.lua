--- @include "key"
--- @include "policy"

-- Pins an issuer to an SFU, towards its tenant's limit if there is one, and makes this request the holder of
-- the placement until its time is over: others wait for it. `inflight` is where the sweeper finds holders
-- that died.
local function pin(address, reserved_at, request, now)
  local name = key('placement', request.tenant, request.issuer)
  local held_until = string.format('%d', now + request.hold_ms)
  redis.call('HSET', name, 'address', address, 'holder', request.id, 'attempt', request.attempt,
    'held_until', held_until, 'reserved_at', string.format('%d', reserved_at))
  redis.call('PEXPIRE', name, policy.affinity_ttl_ms)
  redis.call('ZADD', key('inflight'), held_until, request.tenant .. ':' .. request.issuer)
  if request.max_channels then
    redis.call('ZADD', key('tenant', request.tenant), now + policy.affinity_ttl_ms, request.issuer)
    redis.call('PEXPIRE', key('tenant', request.tenant), policy.affinity_ttl_ms)
  end
end
