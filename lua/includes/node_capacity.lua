--- @include "load_compute"
--- @include "policy"

-- Whether a node has no room for one more channel: 'full', or 'overloaded' and by which figure; else nil. The second
-- part of its derived state. With `margin` below 1 the limits are that much lower: for hysteresis.
local function node_capacity(node, learned, margin)
  if load_compute(node, learned) >= node.max_sessions * margin then
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
