--- @include "decay"
--- @include "node_set"

-- Counts one more channel whose people are about to join: in `recent` until the next heartbeat, and in `joining`, which
-- decays as they arrive.
local function reservation_add(node, now)
  node_set(node, 'recent', node.recent + 1)
  node_set(node, 'joining', decay(node.joining, node.joining_at, now) + 1)
  node_set(node, 'joining_at', now)
end
