--- @include "key"

-- Puts a node into the indexes of its `tier`, for the fleet and its region, and out of the others. An entry that was
-- there already is in no other tier. `load`, `ejected` and `overloaded` go by effective load; `round_robin` has the
-- members of `load` by when they were chosen last, so that replicas with different strategies share no score.
local function node_index(node, tier)
  if not tier then
    --- @include "node_deindex"
    node_deindex(node)
    return
  end
  local score = tostring(node.effective)
  local added = redis.call('ZADD', key(tier), score, node.address)
  if added + redis.call('ZADD', key(tier, node.region), score, node.address) > 0 then
    --- @include "node_deindex"
    node_deindex(node, tier)
    if tier == 'load' then
      local seq = node.round_robin_seq or redis.call('HGET', key('node', node.address), 'round_robin_seq') or 0
      redis.call('ZADD', key('round_robin'), seq, node.address)
      redis.call('ZADD', key('round_robin', node.region), seq, node.address)
    end
  end
end
