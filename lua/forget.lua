--- @include "key"
--- @include "clock"
--- @include "remove_node"

-- Removes every trace of an SFU: its life, what is remembered of it, its drain, its breaker. One that still
-- sends heartbeats comes back as new.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
--
-- Returns  {'ok'}
--          {'unknown'}
local now = clock(ARGV[1])
local address = ARGV[2]

remove_node(address, 'forgotten', now)
redis.call('HDEL', key('draining'), address)
redis.call('DEL', key('breaker', address))
redis.call('ZREM', key('probes'), address)
redis.call('ZREM', key('lost'), address)
if redis.call('HDEL', key('known'), address) == 0 then
  return { 'unknown' }
end
return { 'ok' }
