--- @include "policy"

-- Sets a node's `reserved` (sessions that are promised and not yet reported) and `load` (roadmap, phase 2:
-- weighted sum of sessions per capacity, CPU and memory), and returns its estimated sessions.
local function weigh(node, learned)
  node.reserved = learned.sessions_per_channel * (node.base + node.recent)
  local estimate = node.sessions + node.reserved
  node.load = policy.weight_sessions * estimate / node.max_sessions
    + policy.weight_cpu * node.cpu
    + policy.weight_memory * node.memory
  return estimate
end
