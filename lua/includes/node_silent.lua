--- @include "policy"

-- Whether a node that reported at `reported_at` has been silent for the whole threshold.
local function node_silent(reported_at, now)
  local deadline = reported_at + policy.threshold_ms
  if deadline > now then
    return false
  end
  --- @include "silence_clock"
  return deadline <= silence_clock(now)
end
