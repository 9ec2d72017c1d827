--- @include "emit"
--- @include "key"
--- @include "policy"
--- @include "standing"
--- @include "unlist_node"

-- Puts a node where its standing says: into the load indexes (score: effective load, or its turn when the
-- strategy is round-robin), among the overloaded, or nowhere. The indexes hold selectable nodes only, so a
-- placement never wades through others. The caller writes 'listed', and 'load' as it is returned: as text,
-- because Redis would take longer over the number, each time it gets it.
local function list_node(node, now, learned)
  local stands = standing(node, now, learned)
  local load = tostring(node.load)
  if stands == 'selectable' then
    local score = policy.strategy == 'round-robin' and node.turn or tostring(node.effective)
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
        local generation = node.generation or redis.call('HGET', key('node', node.address), 'generation')
        emit(now, 'overloaded', node.address, node.region, stands, generation)
      end
    end
  else
    unlist_node(node)
    node.listed = 'no'
  end
  return load
end
