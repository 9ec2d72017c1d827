--- @include "clock"
--- @include "key"

-- Hands out the SFUs whose open time is over, each to one sweeper: one that dies with it frees it after
-- `lease` ms.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many at most
-- ARGV[3]  lease in ms, longer than a probe takes
--
-- Returns  addresses
local now = clock(ARGV[1])

local due = redis.call('ZRANGEBYSCORE', key('probes'), '-inf', now, 'LIMIT', 0, ARGV[2])
for _, address in ipairs(due) do
  redis.call('ZADD', key('probes'), now + ARGV[3], address)
end
return due
