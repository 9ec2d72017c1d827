--- @include "event_emit"
--- @include "node_set"
--- @include "policy"

-- Ends a node's ejection after a success, with its failures. How often it was ejected is remembered for a while, so
-- that a node that fails again soon stays out longer.
local function ejection_clear(node, now)
  if node.ejected_reason ~= '' and node.failures >= policy.failure_threshold then
    event_emit(now, 'breaker-closed', node, 'success')
  end
  node_set(node, 'failures', 0)
  node_set(node, 'ejected_reason', '')
  node_set(node, 'permit', '')
  node_set(node, 'permit_until', 0)
end
