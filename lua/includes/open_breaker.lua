--- @include "emit"
--- @include "key"
--- @include "policy"

-- Opens a node's breaker, or opens it again: twice as long each time up to a cap, stretched by up to a
-- fifth (`random` in [0, 1)) so that breakers opened together are not probed together. The sweeper probes
-- the node when the time is over. Says so with an event unless it was open already.
local function open_breaker(node, now, random)
  local name = key('breaker', node.address)
  local opens = redis.call('HINCRBY', name, 'opens', 1)
  local open_ms = math.min(policy.max_open_ms, policy.open_ms * 2 ^ math.min(opens - 1, 20))
  local open_until = math.floor(now + open_ms * (1 + random / 5))
  redis.call('HSET', name, 'state', 'open', 'open_until', open_until)
  redis.call('PEXPIRE', name, open_until - now + 2 * policy.max_open_ms)
  redis.call('ZADD', key('probes'), open_until, node.address)
  redis.call('SADD', key('ejected', node.region), node.address)
  if node.breaker ~= 'open' then
    emit(now, 'breaker-open', node.address, node.region, 'failures', node.generation)
  end
  node.breaker = 'open'
end
