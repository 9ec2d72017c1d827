--- @include "become"
--- @include "clock"
--- @include "key"
--- @include "open_breaker"
--- @include "policy"
--- @include "read_learned"
--- @include "read_node"
--- @include "save_node"

-- Takes the outcome of a recovery probe: answered, the breaker is half-open and lets one request at a time
-- through; silent, it is open again for longer.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  whether it answered, 0|1
-- ARGV[4]  random in [0, 1)
--
-- Returns  {'ok', the breaker's state}
--          {'ok', 'gone'}  the node is not registered: nothing to probe
local now = clock(ARGV[1])
local node = read_node(ARGV[2], now)

if not node or node.breaker ~= 'open' then
  redis.call('ZREM', key('probes'), ARGV[2])
  return { 'ok', node and node.breaker or 'gone' }
end
if ARGV[3] == '1' then
  redis.call('ZREM', key('probes'), ARGV[2])
  redis.call('HSET', key('breaker', ARGV[2]), 'state', 'half-open')
  redis.call('PEXPIRE', key('breaker', ARGV[2]), 2 * policy.max_open_ms)
  node.breaker, node.trial_until = 'half-open', 0
  if node.state == 'misconfigured' or node.state == 'failed' then
    local state = redis.call('HEXISTS', key('draining'), ARGV[2]) == 1 and 'draining' or 'up'
    become(node, state, state, 'recovered', now)
  end
else
  open_breaker(node, now, tonumber(ARGV[4]))
end
save_node(node, now, read_learned())
return { 'ok', node.breaker }
