--- @include "attempt_spill"
--- @include "key"

-- Ends the lock of a placement, for attempt `by`. One that was never confirmed goes, and no longer counts for its
-- tenant.
local function placement_unlock(placement, by)
  attempt_spill(placement, by)
  local name = key('placement', placement.tenant, placement.detail)
  if placement.confirmed_at == 0 then
    redis.call('DEL', name)
    redis.call('ZREM', key('tenant', placement.tenant), placement.detail)
  else
    redis.call('HSET', name, 'lock_expires_at', '0')
  end
end
