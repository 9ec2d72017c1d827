--- @include "decay"
--- @include "key"
--- @include "node_index"
--- @include "node_state"
--- @include "policy"

-- Gives a node to a request: one more channel when the request `reserves` one, with its slot of round-robin, and the
-- half-open permit when the node is half-open.
local function node_assign(node, request, reserves, now, learned)
  if reserves and policy.strategy == 'round-robin' then
    node.round_robin_seq = redis.call('HINCRBY', key('fleet'), 'round_robin_seq', 1)
    redis.call('HSET', key('node', node.address), 'round_robin_seq', node.round_robin_seq)
    redis.call('ZADD', key('round_robin'), 'XX', node.round_robin_seq, node.address)
    redis.call('ZADD', key('round_robin', node.region), 'XX', node.round_robin_seq, node.address)
  end
  if node.is_partial then
    node.recent = node.recent + 1
    local _, _, tier = node_state(node, now, learned)
    if tier == 'load' then
      node_index(node, tier)
      redis.call('HSET', key('node', node.address), 'recent', string.format('%d', node.recent), 'joining',
        tostring(decay(node.joining, node.joining_at, now) + 1), 'joining_at', string.format('%d', now))
      return
    end
  end
  --- @include "node_read"
  --- @include "node_save"
  --- @include "node_set"
  --- @include "reservation_add"
  node = node_read(node.address)
  if reserves then
    reservation_add(node, now)
  end
  if node.ejected_reason ~= '' and node.ejected_until <= now and node.permit_until <= now then
    node_set(node, 'permit', request.id)
    node_set(node, 'permit_until', now + request.lock_ms)
  end
  node_save(node, now, learned)
end
