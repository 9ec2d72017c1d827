--- @include "key"
--- @include "policy"

-- Keeps what the attempt that has a placement's lock has reserved, before attempt `name` takes or ends that lock.
local function attempt_spill(placement, name)
  if placement.lock_expires_at > 0 and placement.attempt ~= '' and placement.lock_owner ~= name then
    redis.call('SET', key('attempt', placement.lock_owner), placement.attempt, 'PX', policy.attempt_ttl_ms)
  end
end
