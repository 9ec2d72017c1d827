--- @include "key"
--- @include "policy"
--- @include "silence_clock"

-- Whether more than half of a fleet of at least five has gone within the last minute (expired or unreachable), is late
-- with its heartbeat, or is ejected. Then the network, Redis or the gateway is the likely cause, and the calls
-- probably live.
local function loss_is_mass(now)
  local living = redis.call('ZCARD', key('deadlines'))
  local late = redis.call('ZCOUNT', key('deadlines'), '-inf',
    tostring(silence_clock(now) + policy.threshold_ms - policy.late_ms))
  local ejected, gone = redis.call('ZCARD', key('returning')), 0
  for _, address in ipairs(redis.call('ZRANGEBYSCORE', key('lost'), tostring(now - 60000), tostring(now), 'LIMIT', 0, 500)) do
    local reason = redis.call('HGET', key('node', address), 'down_reason')
    if reason == 'expired' or reason == 'unreachable' then
      gone = gone + 1
    end
  end
  return living + gone >= 5 and (math.max(late, ejected) + gone) * 2 > living + gone
end
