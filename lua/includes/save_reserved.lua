--- @include "key"
--- @include "list_node"

-- As save_node, for a node that may have got one more channel and is otherwise as it was. Numbers go as text:
-- Redis 7.0 prints one that it is handed with 17 digits, which takes much longer.
local function save_reserved(node, now, learned)
  local load = list_node(node, now, learned)
  redis.call('HSET', key('node', node.address), 'listed', node.listed, 'load', load,
    'reserved', tostring(node.reserved), 'recent', string.format('%d', node.recent),
    'joining', tostring(node.joining), 'joining_at', string.format('%d', node.joining_at))
end
