--- @include "key"
--- @include "node_announce"
--- @include "node_index"
--- @include "node_state"

-- Brings indexes and events in line with a node's derived state and writes what has changed of it; returns the state.
-- `returning` holds the nodes whose state ends by time: an ejection or a half-open permit.
local function node_save(node, now, learned)
  local state, why, tier = node_state(node, now, learned)
  node_index(node, tier)
  if state == 'ejected' then
    redis.call('ZADD', key('returning'), tostring(node.ejected_until), node.address)
  elseif state == 'half-open' and node.permit_until > now then
    redis.call('ZADD', key('returning'), tostring(node.permit_until), node.address)
  elseif node.ejections > 0 or node.failures > 0 or node.ejected_reason ~= '' then
    redis.call('ZREM', key('returning'), node.address)
  end
  if state ~= 'down' and state ~= 'expired' then
    node_announce(node, state, why, now, learned)
  end
  if #node.changes > 0 then
    redis.call('HSET', key('node', node.address), unpack(node.changes))
    node.changes = {}
  end
  return state
end
