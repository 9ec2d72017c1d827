--- @include "key"
--- @include "clock"
--- @include "key"
--- @include "node_end"
--- @include "node_read"

-- Removes every trace of an SFU: its registration, its drain, its failures, its calls. An SFU that still
-- sends heartbeats registers as new.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
--
-- Returns  {'ok'}
--          {'unknown'}
local now = clock(ARGV[1])
local address = ARGV[2]

local was_there = node_end(node_read(address), 'forgotten', now)
redis.call('DEL', key('node', address), key('calls', address))
redis.call('ZREM', key('lost'), address)
if redis.call('ZREM', key('sfus'), address) == 0 and not was_there then
  return { 'unknown' }
end
return { 'ok' }
