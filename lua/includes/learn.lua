--- @include "fade"
--- @include "key"
--- @include "policy"

-- Learns from one heartbeat, before it replaces the node's last report.
--
-- Sessions per channel: a channel of age t has brought in 1 - e^(-t/J) of its people and still counts
-- e^(-t/J) in `joining`, so sessions / (channels - joining) is unbiased however young the channels are.
--
-- Join time: of the people expected since the last report, the share f that came in an effective time x
-- gives J = -x / ln(1 - f). Only a report that is mostly arrivals can teach it; leavers would blur the rest.
local function learn(node, report, now, learned)
  local joining = fade(node.joining, node.joining_at, now, learned.join_ms)
  local settled = report.channels - joining
  local per_channel = learned.sessions_per_channel
  if settled >= 1 then
    local sample = math.max(policy.min_sessions_per_channel, report.sessions / settled)
    per_channel = per_channel + (sample - per_channel) * settled / (settled + 100)
  end

  local join_ms = learned.join_ms
  local interval = now - node.last_seen
  local expected = learned.sessions_per_channel * (node.base + node.recent)
  if interval > 0 and expected >= 10 and expected >= node.sessions / 2 then
    local share = (report.sessions - node.sessions) / expected
    if share > 0.05 and share < 0.95 then
      local exposed = interval * (node.base + node.recent / 2) / (node.base + node.recent)
      local sample = math.min(60000, math.max(2000, -exposed / math.log(1 - share)))
      join_ms = join_ms + (sample - join_ms) * expected / (expected + 500)
    end
  end

  if per_channel ~= learned.sessions_per_channel or join_ms ~= learned.join_ms then
    redis.call('HSET', key('fleet'), 'sessions_per_channel', per_channel, 'join_ms', join_ms)
    learned.sessions_per_channel = per_channel
    learned.join_ms = join_ms
  end
end
