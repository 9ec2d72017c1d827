--- @include "key"
--- @include "policy"
--- @include "silence_clock"

-- How many of how many living nodes are silent (no report for two thirds of the threshold), when that is
-- more than half of a fleet of at least five; else nil. Then Redis or the network is the likely cause.
local function silent_most(now)
  local living = redis.call('ZCARD', key('deadlines'))
  local silent = redis.call('ZCOUNT', key('deadlines'), '-inf', tostring(silence_clock(now) + policy.threshold_ms / 3))
  if living >= 5 and silent * 2 > living then
    return silent, living
  end
  return nil
end
