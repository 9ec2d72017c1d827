--- @include "clock"
--- @include "emit"
--- @include "key"
--- @include "read_node"
--- @include "remember"

-- Says, once, that an SFU's drain deadline has passed: its calls are not kept there any more.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
--
-- Returns  {'ok', said 0|1}
local now = clock(ARGV[1])
local node = read_node(ARGV[2], now)

if not node or node.state ~= 'draining' or node.drained == 1 or node.drain_until == 0
    or now < node.drain_until then
  return { 'ok', 0 }
end
node.drained = 1
remember(node)
redis.call('HSET', key('node', node.address), 'drained', 1)
emit(now, 'drained', node.address, node.region, 'deadline', node.generation)
return { 'ok', 1 }
