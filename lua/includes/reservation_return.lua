--- @include "decay"
--- @include "node_set"

-- Takes back a reservation made at `reserved_at`: what is left of it is in `recent` while no heartbeat has come since,
-- and in `base` after one.
local function reservation_return(node, reserved_at, now)
  if node.reported_at > reserved_at or node.recent == 0 then
    node_set(node, 'base', math.max(0, node.base - decay(1, reserved_at, node.reported_at)))
  else
    node_set(node, 'recent', node.recent - 1)
  end
  local joining = decay(node.joining, node.joining_at, now) - decay(1, reserved_at, now)
  node_set(node, 'joining', math.max(0, joining))
  node_set(node, 'joining_at', now)
end
