--- @include "policy"
--- @include "silence_clock"

-- Whether a node that reported at `reported_at` has been silent for the whole threshold.
local function node_silent(reported_at, now)
  local deadline = reported_at + policy.threshold_ms
  return deadline <= now and deadline <= silence_clock(now)
end
