--- @include "policy"

-- Sets what a node is judged by, and returns its estimated sessions:
--   reserved   sessions that are promised and not yet reported
--   load       the roadmap's score (phase 2): weighted sum of sessions per capacity, CPU and memory
--   effective  load, with the CPU and memory that the promised sessions will take: what nodes are compared by
--
-- Sessions in a report count by their CPU and memory too. Those that are promised must count as much, or
-- placements go where placements went last. They count as if a full node used all of both, or more where the
-- node uses more than that for its sessions; the 0.1 bounds what a node that is nearly empty can make of it.
local function weigh(node, learned)
  node.reserved = learned.sessions_per_channel * (node.base + node.recent)
  local estimate = node.sessions + node.reserved
  local usage = policy.weight_cpu * node.cpu + policy.weight_memory * node.memory
  local filled, used_when_full = node.sessions / node.max_sessions, policy.weight_cpu + policy.weight_memory
  local excess = math.max(0, usage - used_when_full * filled) / (filled + 0.1)
  node.load = policy.weight_sessions * estimate / node.max_sessions + usage
  node.effective = node.load + (used_when_full + excess) * node.reserved / node.max_sessions
  return estimate
end
