--- @include "key"
--- @include "list_node"
--- @include "write_hash"

local SAVED_FIELDS = {
  'state', 'breaker', 'listed', 'load', 'reserved', 'recent', 'base', 'joining', 'joining_at', 'turn',
  'trial_until', 'drain_until', 'drained',
}

-- Lists a living node by its standing and writes what has changed of what scripts other than the heartbeat
-- may change. Its TTL, the node's health, is left as it is.
local function save_node(node, now, policy, learned)
  list_node(node, now, policy, learned)
  local changed = {}
  for _, field in ipairs(SAVED_FIELDS) do
    if node[field] ~= node.stored[field] then
      changed[#changed + 1] = field
      node.stored[field] = node[field]
    end
  end
  if #changed > 0 then
    write_hash(key('node', node.address), node, unpack(changed))
  end
end
