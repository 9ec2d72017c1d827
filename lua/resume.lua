--- @include "become"
--- @include "clock"
--- @include "key"
--- @include "read_learned"
--- @include "read_node"
--- @include "save_node"

-- Takes back a drain: the SFU may have new channels again. An SFU that drains itself says so again with its
-- next heartbeat.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
--
-- Returns  {'ok'}
--          {'unknown'}
local now = clock(ARGV[1])
local address = ARGV[2]

local intended = redis.call('HDEL', key('draining'), address)
local node = read_node(address, now)
if node and node.state == 'draining' then
  node.drain_until, node.drained = 0, 0
  become(node, 'up', 'up', 'resumed', now)
  save_node(node, now, read_learned())
end
if intended == 0 and redis.call('HEXISTS', key('known'), address) == 0 then
  return { 'unknown' }
end
return { 'ok' }
