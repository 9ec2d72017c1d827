--- @include "event_emit"
--- @include "key"
--- @include "node_deindex"
--- @include "policy"

-- Ends a registration: removes it from every index, deletes its drain and its key, lists it among the lost, and writes
-- one `down` event. Its calls stay listed. Returns whether there was a registration; a repeated call changes nothing.
local function node_end(node, reason, now)
  if not node or node.down_at > 0 then
    return false
  end
  local name = key('node', node.address)
  node_deindex(node)
  redis.call('ZREM', key('deadlines'), node.address)
  redis.call('ZREM', key('drains'), node.address)
  redis.call('ZREM', key('returning'), node.address)
  redis.call('ZADD', key('lost'), tostring(now), node.address)
  redis.call('HDEL', name, 'key', 'operator_drain', 'emptied_at', 'permit', 'permit_until', 'round_robin_seq')
  redis.call('HSET', name, 'down_at', tostring(now), 'down_reason', reason, 'announced', 'down')
  redis.call('PEXPIRE', name, policy.lost_ttl_ms + 60000)
  redis.call('PEXPIRE', key('calls', node.address), policy.affinity_ttl_ms)
  redis.call('HINCRBY', key('fleet'), 'epoch', 1)
  local state = reason == 'signed-off' and reason or reason ~= 'forgotten' and 'lost' or nil
  event_emit(now, 'down', node, reason, state)
  return true
end
