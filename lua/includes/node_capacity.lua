--- @include "policy"

-- Whether a node has no room for one more channel: 'full', or 'overloaded', and by which figure; else nil. The second
-- part of its derived state. With `margin` below 1 the limits are that much lower: for hysteresis.
--
-- Sets the figures of the decision:
--   reserved   sessions that are promised and not yet reported, by the setting: they admit or refuse
--   load       the roadmap's score (phase 2): weighted sum of sessions per capacity, CPU and memory
--   effective  load by the `learned` sessions per channel, with the CPU and memory that the promised sessions
--              will take: the figure that nodes are compared by
--
-- Sessions in a report count by their CPU and memory too. Promised sessions must count as much, or
-- placements follow the last placements. They count as if a full node used all of both, or more where the
-- node uses more than that for its sessions; the 0.1 bounds the figure of a node that is nearly empty.
local function node_capacity(node, learned, margin)
  local promised, sessions, capacity = node.base + node.recent, node.sessions, node.max_sessions
  local usage = policy.weight_cpu * node.cpu + policy.weight_memory * node.memory
  local filled, per_filled = sessions / capacity, policy.weight_cpu + policy.weight_memory
  if usage > per_filled * filled then
    per_filled = per_filled + (usage - per_filled * filled) / (filled + 0.1)
  end
  local estimate = sessions + policy.sessions_per_channel * promised
  node.reserved = estimate - sessions
  node.load = policy.weight_sessions * estimate / capacity + usage
  node.effective = policy.weight_sessions * filled + usage
    + (policy.weight_sessions + per_filled) * learned * promised / capacity
  if estimate >= capacity * margin then
    return 'full', 'sessions'
  end
  if node.cpu > policy.max_cpu * margin then
    return 'overloaded', 'cpu'
  end
  if node.memory > policy.max_memory * margin then
    return 'overloaded', 'memory'
  end
  if node.load > policy.max_load * margin then
    return 'overloaded', 'load'
  end
  return nil
end
