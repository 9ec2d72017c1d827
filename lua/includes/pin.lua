--- @include "key"
--- @include "write_hash"

-- Pins an issuer to an SFU and makes this request the holder of the placement until `held_until`: others
-- wait for it. `inflight` is where the sweeper finds holders that died.
local function pin(placement, request, now, policy)
  local name = key('placement', request.tenant, request.issuer)
  placement.holder, placement.attempt = request.id, request.attempt
  placement.held_until = now + request.hold_ms
  write_hash(name, placement, 'address', 'holder', 'attempt', 'held_until', 'reserved_at',
    'uuid', 'confirmed_at')
  redis.call('PEXPIRE', name, policy.affinity_ttl_ms)
  redis.call('ZADD', key('inflight'), placement.held_until, request.tenant .. ':' .. request.issuer)
end
