--- @include "node_read"

-- Reads a node whose registration an operator's order is for. Without one returns nil and why: 'unknown', or 'down' for
-- a registration that has ended.
local function node_registered(address)
  local node = node_read(address)
  if not node then
    return nil, 'unknown'
  end
  if node.down_at > 0 then
    return nil, 'down'
  end
  return node
end
