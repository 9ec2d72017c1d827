--- @include "become"
--- @include "clock"
--- @include "key"
--- @include "read_learned"
--- @include "read_node"
--- @include "save_node"

-- Takes an SFU out of new placements; its calls stay. The intent outlives the node and its restarts.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  ms from now until calls are not kept there either; 0 for no deadline
--
-- Returns  {'ok', deadline in ms or 0}
--          {'unknown'}
local now = clock(ARGV[1])
local address = ARGV[2]
local within = tonumber(ARGV[3])

if redis.call('HEXISTS', key('known'), address) == 0 then
  return { 'unknown' }
end
local drain_until = within > 0 and now + within or 0
redis.call('HSET', key('draining'), address, drain_until)
local node = read_node(address, now)
if node then
  node.drain_until = drain_until
  if node.state == 'up' then
    become(node, 'draining', 'draining', 'operator', now)
  end
  save_node(node, now, read_learned())
end
return { 'ok', drain_until }
