--- @include "clock"
--- @include "event_emit"
--- @include "key"
--- @include "learned_read"
--- @include "node_announce"
--- @include "node_registered"
--- @include "node_save"
--- @include "node_set"

-- Takes an SFU out of new placements, its calls stay; or takes that back. A drain belongs to the registration and ends
-- with it. An SFU that drains itself says so again with its next heartbeat.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  ms from now until calls are not kept there either; 0 for no deadline; '' to take the drain back
-- ARGV[4]  whether Odoo is asked to move its calls to other SFUs, 0|1: one `moving` event
--
-- Returns  {'ok', deadline in ms or 0}
--          {'unknown'}
--          {'down'}  the SFU is not registered now: there is nothing to drain
local now = clock(ARGV[1])
local node, refusal = node_registered(ARGV[2])
local within = tonumber(ARGV[3])

if not node then
  return { refusal }
end
local deadline = within and (within > 0 and now + within or 0)
node_set(node, 'operator_drain', deadline)
if not deadline then
  node_set(node, 'self_draining', false)
  node_set(node, 'emptied_at', 0)
end
if deadline and deadline > 0 then
  redis.call('ZADD', key('drains'), tostring(deadline), node.address)
else
  redis.call('ZREM', key('drains'), node.address)
end
local learned = learned_read(now)
if deadline and node.announced == 'up' then -- also a silent one, whose silence may turn out to be Redis'
  node_announce(node, 'draining', 'operator', now, learned)
end
node_save(node, now, learned)
if deadline and ARGV[4] == '1' then
  local calls = string.format('%d', redis.call('ZCARD', key('calls', node.address)))
  redis.call('HDEL', key('node', node.address), 'moved', 'kept', 'move_failed')
  redis.call('HSET', key('node', node.address), 'moves', calls)
  event_emit(now, 'moving', node, 'drain')
end
return { 'ok', deadline or 0 }
