--- @include "key"
--- @include "list_node"

-- Lists a living node by its standing and writes what scripts other than the heartbeat may change. Its TTL,
-- the node's health, is left as it is.
local function save_node(node, now, learned)
  local load = list_node(node, now, learned)
  redis.call('HSET', key('node', node.address), 'state', node.state, 'breaker', node.breaker,
    'listed', node.listed, 'load', load, 'reserved', tostring(node.reserved), 'recent', node.recent,
    'base', tostring(node.base), 'joining', tostring(node.joining), 'joining_at', node.joining_at,
    'turn', node.turn, 'trial_until', node.trial_until, 'drain_until', node.drain_until,
    'drained', node.drained)
end
