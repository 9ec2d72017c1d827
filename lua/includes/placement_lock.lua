--- @include "key"
--- @include "policy"

-- Gives an attempt the lock of a placement until its time is over: others wait for it. Where no channel is confirmed,
-- the placement's address follows the attempts, so that the next owner after a dead one asks the same SFU. `attempts`
-- is where the sweeper finds owners that died; `record` says what the attempt has reserved.
local function placement_lock(placement, node, request, record, now)
  if placement.lock_owner ~= '' then
    --- @include "attempt_spill"
    attempt_spill(placement, request.name)
  end
  local name = placement.name
  local expires_at = string.format('%d', now + request.lock_ms)
  if placement.confirmed_at > 0 then
    redis.call('HSET', name, 'lock_owner', request.name, 'lock_expires_at', expires_at, 'attempt', record)
  else
    redis.call('HSET', name, 'lock_owner', request.name, 'lock_expires_at', expires_at, 'address', node.address,
      'generation', node.generation, 'caller', request.caller, 'attempt', record, 'key_fingerprint',
      request.fingerprint ~= '' and request.fingerprint or placement.key_fingerprint)
  end
  if placement.confirmed_at == 0 or now - placement.confirmed_at > policy.affinity_ttl_ms / 2 then
    redis.call('PEXPIRE', name, policy.affinity_ttl_ms)
  end
  redis.call('ZADD', key('attempts'), expires_at, request.name .. ' ' .. placement.tenant .. ':' .. placement.detail)
  if request.max_placements then
    local ttl_ms = placement.confirmed_at > 0 and policy.affinity_ttl_ms or request.lock_ms + policy.attempt_ttl_ms
    redis.call('ZADD', key('tenant', placement.tenant), tostring(now + ttl_ms), placement.detail)
    redis.call('PEXPIRE', key('tenant', placement.tenant), policy.affinity_ttl_ms)
  end
end
