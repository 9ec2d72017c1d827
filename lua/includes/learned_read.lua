--- @include "key"
--- @include "policy"

-- Sessions per channel, learned from the fleet's heartbeats. The figure orders SFUs; the setting admits channels. It
-- decays back to the setting, so that it does not outlive the calls it was learned from.
-- Also returns when the first node is `returning`, nil for none.
local function learned_read(now)
  local v = redis.call('HMGET', key('fleet'), 'sessions_per_channel', 'learned_at', 'returns_at')
  if not v[1] then
    return policy.sessions_per_channel, v[3] and v[3] + 0
  end
  local age = math.max(0, now - v[2])
  return policy.sessions_per_channel + (v[1] - policy.sessions_per_channel) * math.exp(-age / policy.learned_fade_ms),
    v[3] and v[3] + 0
end
