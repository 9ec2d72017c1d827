--- @include "is_allowed"
--- @include "is_excluded"

-- Whether an issuer stays with the SFU it has: alive, not failed, its breaker not open, and within the
-- request's limits. A full or overloaded SFU keeps its calls, a draining one until its drain deadline.
local function keeps_sticky(node, request, now)
  if not node or is_excluded(node.address, request.exclude) or not is_allowed(node.region, request.allow) then
    return false
  end
  if node.breaker == 'open' or node.breaker == 'half-open' and node.trial_until > now then
    return false
  end
  return node.state == 'up' or node.state == 'draining' and (node.drain_until == 0 or now < node.drain_until)
end
