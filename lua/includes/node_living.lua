--- @include "node_health"
--- @include "node_read"

-- Whether there is a living SFU at `address`, with the registration `generation` when one is given.
local function node_living(address, generation, now)
  local node = node_read(address)
  local health = node and node_health(node, now)
  return node and health ~= 'down' and health ~= 'expired' and (not generation or node.generation == generation)
end
