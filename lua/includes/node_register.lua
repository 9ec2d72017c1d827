--- @include "key"
--- @include "node_deindex"

-- Begins a registration at `address`: another generation, for which ejection, failures, reservations and stickiness of
-- a former one do not count. A restart in place of `former`, the living registration, or nil, keeps what belongs to
-- address and key: the operator's drain and the ids of processes. Returns the node, not saved.
local function node_register(address, former, now)
  local name = key('node', address)
  if former then
    node_deindex(former)
  end
  redis.call('DEL', name)
  redis.call('ZREM', key('lost'), address)
  redis.call('ZREM', key('returning'), address)
  redis.call('ZADD', key('sfus'), 0, address)
  redis.call('HSETNX', key('fleet'), 'began_at', tostring(now))
  local node = {
    address = address, changes = {}, generation = redis.call('HINCRBY', key('fleet'), 'epoch', 1),
    registered_at = now, region = '', key = '', fingerprint = '', instance = '', former_instances = '',
    shared_at = 0, channels = 0, sessions = 0, max_sessions = 0, cpu = 0, memory = 0, public_url = '',
    self_draining = false, reported_at = 0, tat = 0, emptied_at = 0, failures = 0, ejections = 0,
    ejected_until = 0, ejected_reason = '', permit = '', permit_until = 0, probe_until = 0, errors = 0,
    last_error = '', last_error_at = 0, recent = 0, base = 0, joining = 0, joining_at = now,
    round_robin_seq = 0, announced = '', down_at = 0, down_reason = '', ejected_since = 0,
  }
  for _, field in ipairs({ 'operator_drain', 'former_instances', 'shared_at', 'tat' }) do
    if former and former[field] then
      node[field] = former[field]
      node.changes[#node.changes + 1] = field
      node.changes[#node.changes + 1] = tostring(former[field])
    end
  end
  redis.call('HSET', name, 'generation', node.generation, 'registered_at', tostring(now),
    'channels', '0', 'sessions', '0', 'cpu', '0', 'memory', '0')
  return node
end
