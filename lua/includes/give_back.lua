--- @include "fade"

-- Takes back a reservation made at `reserved_at`: what is left of it is in `recent` while no heartbeat has
-- come since, and in `base` after one. One that is older than the node's hash went with the former one.
local function give_back(node, reserved_at, now, learned)
  if reserved_at < node.since then
    return
  end
  if node.last_seen > reserved_at or node.recent == 0 then
    node.base = math.max(0, node.base - fade(1, reserved_at, node.last_seen, learned.join_ms))
  else
    node.recent = math.max(0, node.recent - 1)
  end
  local joining = fade(node.joining, node.joining_at, now, learned.join_ms)
  node.joining = math.max(0, joining - fade(1, reserved_at, now, learned.join_ms))
  node.joining_at = now
end
