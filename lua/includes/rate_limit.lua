--- @include "node_set"
--- @include "policy"

-- Rate limit per address, as a leaky bucket kept in one number (GCRA, ATM Forum TM 4.0, I.371): returns 0 and moves the
-- theoretical arrival time `tat` on, or the milliseconds to wait. A clock that has stepped back starts it anew.
local function rate_limit(node, now)
  local burst_ms = policy.heartbeat_burst * policy.heartbeat_every_ms
  local tat = math.max(now, node.tat)
  if node.reported_at > now or tat > now + burst_ms then
    tat = now
  end
  local wait = tat + policy.heartbeat_every_ms - now - burst_ms
  if wait > 0 then
    return math.ceil(wait)
  end
  node_set(node, 'tat', tat + policy.heartbeat_every_ms)
  return 0
end
