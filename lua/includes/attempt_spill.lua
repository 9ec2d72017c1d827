--- @include "key"
--- @include "policy"

-- Keeps what the attempt that has a placement's lock has reserved, before attempt `name` takes or ends that lock. An attempt
-- that was recorded, and whose select ran once more after that, stays recorded: its result follows.
local function attempt_spill(placement, name)
  if placement.lock_expires_at > 0 and placement.attempt ~= '' and placement.lock_owner ~= name then
    local spilled, text = key('attempt', placement.lock_owner), placement.attempt
    local result = redis.call('GET', spilled)
    if result and not string.find(result, ' ', 1, true) then
      text = text .. ' ' .. result
    end
    redis.call('SET', spilled, text, 'PX', policy.attempt_ttl_ms)
  end
end
