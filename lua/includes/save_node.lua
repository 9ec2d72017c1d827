--- @include "key"
--- @include "list_node"
--- @include "write_hash"

-- Lists a living node by its standing and writes what scripts other than the heartbeat may change.
-- Its TTL, the node's health, is left as it is.
local function save_node(node, now, policy, learned)
  list_node(node, now, policy, learned)
  write_hash(key('node', node.address), node, 'state', 'breaker', 'listed', 'load', 'reserved', 'recent',
    'base', 'joining', 'joining_at', 'turn', 'trial_until', 'drain_until', 'drained')
end
