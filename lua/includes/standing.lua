--- @include "policy"
--- @include "weigh"

-- Why a node may not take a new channel at `now`, or 'selectable'. The one place that knows.
-- 'overloaded' and 'full' are about load; everything else is about health or the operator's will.
local function standing(node, now, learned)
  local estimate = weigh(node, learned)
  if node.state ~= 'up' then
    return node.state
  end
  if node.breaker == 'open' then
    return 'breaker-open'
  end
  if node.breaker == 'half-open' and node.trial_until > now then
    return 'on-trial'
  end
  if estimate >= node.max_sessions then
    return 'full'
  end
  if node.load > policy.max_load or node.cpu > policy.max_cpu or node.memory > policy.max_memory then
    return 'overloaded'
  end
  return 'selectable'
end
