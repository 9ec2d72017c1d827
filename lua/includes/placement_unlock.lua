--- @include "attempt_spill"
--- @include "key"

-- Ends the lock of a placement, for attempt `by`. A placement that was never confirmed is deleted and no longer
-- counts for its tenant. With `may_exist` its SFU may have a channel all the same, and the issuer stays with that SFU.
local function placement_unlock(placement, by, may_exist)
  attempt_spill(placement, by)
  local name = placement.name
  if placement.confirmed_at > 0 or may_exist then
    redis.call('HSET', name, 'lock_expires_at', '0')
  else
    redis.call('DEL', name)
  end
  if placement.confirmed_at == 0 then
    redis.call('ZREM', key('tenant', placement.tenant), placement.detail)
  end
end
