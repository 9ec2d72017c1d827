--- @include "select_node"

-- The node that takes over a call which Odoo has been asked to move, and select_node's other replies; nil when the call
-- is not being moved or no selectable node is left: then it stays.
local function placement_moves(placement, request, now, learned)
  if placement.moving_until <= now then
    return nil
  end
  local node, number, reason = select_node(request, nil, now, learned)
  if node and reason ~= 'last-resort' and node.address ~= placement.address then
    return node, number, reason
  end
  return nil
end
