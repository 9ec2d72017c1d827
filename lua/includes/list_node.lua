--- @include "key"
--- @include "emit"
--- @include "standing"
--- @include "unlist_node"

-- Puts a node where its standing says: into the load indexes (score: effective load, or its turn when the
-- strategy is round-robin), among the overloaded, or nowhere. Returns the standing. The indexes hold
-- selectable nodes only, so a placement never wades through others. The caller writes 'listed'.
local function list_node(node, now, policy, learned)
  local stands = standing(node, now, policy, learned)
  if stands == 'selectable' then
    local score = policy.strategy == 'round-robin' and node.turn or node.load
    if node.listed == 'overloaded' then
      unlist_node(node)
    end
    redis.call('ZADD', key('load'), score, node.address)
    redis.call('ZADD', key('load', node.region), score, node.address)
    node.listed = 'selectable'
  elseif stands == 'overloaded' or stands == 'full' then
    if node.listed ~= 'overloaded' then
      unlist_node(node)
      redis.call('SADD', key('overloaded'), node.address)
      redis.call('SADD', key('overloaded', node.region), node.address)
      node.listed = 'overloaded'
      if redis.call('ZCARD', key('load', node.region)) == 0 then
        emit(policy, now, 'overloaded', node.address, node.region, stands, node.generation)
      end
    end
  else
    unlist_node(node)
    node.listed = 'no'
  end
  return stands
end
