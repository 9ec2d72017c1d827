--- @include "key"
--- @include "emit"
--- @include "recall"
--- @include "unlist_node"

-- Ends a node's life: out of every index, remembered among the lost, one `down` event. Returns whether
-- there was a life to end; asking twice is harmless.
local function remove_node(address, reason, now)
  if redis.call('ZREM', key('deadlines'), address) == 0 then
    return false
  end
  local last = recall(address) or { address = address, region = '', generation = 0 }
  redis.call('DEL', key('node', address))
  redis.call('SREM', key('members', last.region), address)
  redis.call('SREM', key('ejected', last.region), address)
  unlist_node(last)
  last.address, last.down_at, last.reason = nil, now, reason
  redis.call('HSET', key('known'), address, cjson.encode(last))
  redis.call('ZADD', key('lost'), now, address)
  emit(now, 'down', address, last.region, reason, last.generation)
  return true
end
