--- @include "key"

-- Takes a node out of every index that a placement reads.
local function unlist_node(node)
  redis.call('ZREM', key('load'), node.address)
  redis.call('ZREM', key('load', node.region), node.address)
  redis.call('SREM', key('overloaded'), node.address)
  redis.call('SREM', key('overloaded', node.region), node.address)
end
