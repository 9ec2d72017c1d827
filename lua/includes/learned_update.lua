--- @include "decay"
--- @include "key"
--- @include "policy"

-- Learns sessions per channel from one heartbeat, before it replaces the node's last report; returns the
-- new figure.
--
-- A channel of age t has brought in 1 - e^(-t/J) of its people and still counts e^(-t/J) in `joining`, so
-- sessions / (channels - joining) is unbiased however young the channels are. Each sample is bounded by
-- policy.min_sessions_per_channel and policy.max_sessions_per_channel: one large call, or one false report,
-- teaches no more than that.
local function learned_update(node, report, now, learned)
  local settled = report.channels - decay(node.joining, node.joining_at, now)
  if settled < 1 then
    return learned
  end
  local sample = math.max(policy.min_sessions_per_channel,
    math.min(policy.max_sessions_per_channel, report.sessions / settled))
  learned = learned + (sample - learned) * settled / (settled + 100)
  redis.call('HSET', key('fleet'), 'sessions_per_channel', tostring(learned), 'learned_at', tostring(now))
  return learned
end
