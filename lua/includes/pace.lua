--- @include "policy"

-- Rate limit per address, as a leaky bucket kept in one number (GCRA, ATM Forum TM 4.0, I.371): returns 0
-- and moves `paced_until` on, or the milliseconds to wait.
local function pace(node, now)
  local due = math.max(now, node.paced_until) + policy.heartbeat_every_ms
  local wait = due - now - policy.heartbeat_burst * policy.heartbeat_every_ms
  if wait > 0 then
    return math.ceil(wait)
  end
  node.paced_until = due
  return 0
end
