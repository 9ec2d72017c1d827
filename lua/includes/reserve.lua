--- @include "fade"

-- Counts one more channel whose people are about to join: in `recent` until the next heartbeat, and in
-- `joining`, which fades as they arrive.
local function reserve(node, now, learned)
  node.recent = node.recent + 1
  node.joining = fade(node.joining, node.joining_at, now, learned.join_ms) + 1
  node.joining_at = now
end
