--- @include "become"
--- @include "clock"
--- @include "key"
--- @include "open_breaker"
--- @include "read_learned"
--- @include "read_node"
--- @include "save_node"

-- Takes the outcome of a recovery probe: answered, the breaker is half-open and lets one request at a time
-- through; silent, it is open again for longer.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  policy (JSON)
-- ARGV[3]  address
-- ARGV[4]  whether it answered, 0|1
-- ARGV[5]  random in [0, 1)
--
-- Returns  {'ok', the breaker's state}
--          {'ok', 'gone'}  the node is not registered: nothing to probe
local now = clock(ARGV[1])
local policy = cjson.decode(ARGV[2])
local node = read_node(ARGV[3], now)

if not node or node.breaker ~= 'open' then
  redis.call('ZREM', key('probes'), ARGV[3])
  return { 'ok', node and node.breaker or 'gone' }
end
if ARGV[4] == '1' then
  redis.call('ZREM', key('probes'), ARGV[3])
  redis.call('HSET', key('breaker', ARGV[3]), 'state', 'half-open')
  redis.call('PEXPIRE', key('breaker', ARGV[3]), 2 * policy.max_open_ms)
  node.breaker, node.trial_until = 'half-open', 0
  if node.state == 'misconfigured' or node.state == 'failed' then
    local state = redis.call('HEXISTS', key('draining'), ARGV[3]) == 1 and 'draining' or 'up'
    become(node, state, state, 'recovered', now, policy)
  end
else
  open_breaker(node, now, policy, tonumber(ARGV[5]))
end
save_node(node, now, policy, read_learned(policy))
return { 'ok', node.breaker }
