--- @include "key"
--- @include "node_announce"
--- @include "node_index"
--- @include "node_state"

-- Brings indexes and events in line with a node's derived state and writes what has changed of it; returns the state.
-- `returning` holds the nodes whose state ends by time: an ejection or a half-open permit.
local function node_save(node, now, learned)
  local state, why, tier = node_state(node, now, learned)
  node_index(node, tier)
  if state == 'ejected' or state == 'half-open' and node.permit_until > now then
    local ends_at = state == 'ejected' and node.ejected_until or node.permit_until
    --- @include "returning_note"
    redis.call('ZADD', key('returning'), tostring(ends_at), node.address)
    returning_note()
  elseif node.ejected_until > 0 and redis.call('ZREM', key('returning'), node.address) == 1 then
    --- @include "returning_note"
    returning_note()
  end
  if tier or state == 'draining' or state == 'drained' then
    node_announce(node, state, why, now, learned)
  end
  if #node.changes > 0 then
    redis.call('HSET', key('node', node.address), unpack(node.changes))
    node.changes = {}
  end
  return state
end
