--- @include "key"

-- A node is no longer out by failures.
local function readmit(node)
  redis.call('SREM', key('ejected', node.region), node.address)
end
