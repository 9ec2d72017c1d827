--- @include "key"
--- @include "recall"

-- A node at its first heartbeat. Returns it and why it is new: 'registered', 'returned' (it was down), or
-- nil when its hash expired and nobody has called it down yet: then the same life goes on.
-- An open breaker outlives its node, unless it blamed a key and the node comes with another one.
local function birth(address, report, now)
  local node = {
    address = address, region = report.region, state = 'up', breaker = 'closed', listed = 'no',
    key = report.key, fingerprint = report.fingerprint, public_url = report.public_url,
    channels = 0, sessions = 0, max_sessions = report.max_sessions, cpu = 0, memory = 0,
    load = 0, reserved = 0, recent = 0, base = 0, joining = 0, joining_at = now, turn = 0,
    trial_until = 0, drain_until = 0, drained = 0, last_seen = now, deadline = now, paced_until = 0,
    registered_at = now, since = now,
  }
  local breaker = redis.call('HMGET', key('breaker', address), 'state', 'blamed_key')
  if breaker[2] and breaker[2] ~= report.fingerprint then
    redis.call('DEL', key('breaker', address))
    redis.call('ZREM', key('probes'), address)
  elseif breaker[1] then
    node.breaker = breaker[1]
    if breaker[2] and breaker[1] == 'open' then
      node.state = 'misconfigured'
    end
  end

  local known = recall(address)
  if known and redis.call('ZSCORE', key('deadlines'), address) then
    node.region, node.generation, node.registered_at = known.region, known.generation, known.registered_at
    node.state, node.drained = known.state, known.drained
    return node, nil
  end
  redis.call('HSETNX', key('fleet'), 'epoch', now)
  node.generation = redis.call('HINCRBY', key('fleet'), 'generation', 1)
  return node, known and 'returned' or 'registered'
end
