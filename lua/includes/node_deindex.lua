--- @include "key"

-- Takes a node out of every index of its region and of the fleet, except the tier `except`.
local function node_deindex(node, except)
  for _, tier in ipairs({ 'load', 'ejected', 'overloaded' }) do
    if tier ~= except then
      redis.call('ZREM', key(tier), node.address)
      redis.call('ZREM', key(tier, node.region), node.address)
    end
  end
  if except ~= 'load' then
    redis.call('ZREM', key('round_robin'), node.address)
    redis.call('ZREM', key('round_robin', node.region), node.address)
  end
end
