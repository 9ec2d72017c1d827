--- @include "key"
--- @include "policy"

-- The time by which the silence of SFUs is measured. It stands still while no replica reads the registry: Redis or the
-- gateway is away then, and no heartbeat gets through. It is `now` again one threshold after the absence, when each SFU
-- has had as long as ever to report.
-- Also returns when the latest absence ended and for how long it lasted, both in ms, 0 for none that still matters.
-- Absences less than a threshold apart count as one.
local function silence_clock(now)
  local v = redis.call('HMGET', key('fleet'), 'read_at', 'away_until', 'away_ms')
  local away_until, away_ms, unread_ms = (v[2] or 0) + 0, (v[3] or 0) + 0, v[1] and now - v[1] or 0
  if away_until + policy.threshold_ms <= now - unread_ms then
    away_until, away_ms = 0, 0
  end
  if unread_ms >= math.max(1500, policy.threshold_ms / 3) then -- replicas read each second
    away_until, away_ms = now, away_ms + unread_ms
  end
  return now < away_until + policy.threshold_ms and now - away_ms or now, away_until, away_ms
end
