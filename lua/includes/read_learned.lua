--- @include "key"
--- @include "policy"

-- What the fleet's heartbeats have taught: sessions per channel, and the time constant (ms) with which a
-- channel's people join. The policy's values stand in until something was learned.
local function read_learned()
  local values = redis.call('HMGET', key('fleet'), 'sessions_per_channel', 'join_ms')
  return {
    sessions_per_channel = tonumber(values[1] or policy.sessions_per_channel),
    join_ms = tonumber(values[2] or policy.join_ms),
  }
end
