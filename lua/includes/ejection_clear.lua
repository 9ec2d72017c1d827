--- @include "event_emit"
--- @include "node_set"
--- @include "policy"

-- Ends a node's ejection after a `success` or by an order (`operator`), with its failures. How often it was ejected is
-- remembered for a while, so that a node that fails again soon stays out longer.
local function ejection_clear(node, now, why)
  if node.ejected_reason ~= '' and node.failures >= policy.failure_threshold then
    event_emit(now, 'breaker-closed', node, why)
  end
  node_set(node, 'failures', 0)
  node_set(node, 'ejected_reason', '')
  node_set(node, 'permit', '')
  node_set(node, 'permit_until', 0)
end
