--- @include "clock"
--- @include "key"
--- @include "policy"

-- Forgets SFUs that have been down for longer than they stay listed, a few at a time.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many at most
--
-- Returns  {'purged', count}
local now = clock(ARGV[1])

local old = redis.call('ZRANGEBYSCORE', key('lost'), '-inf', now - policy.lost_ttl_ms, 'LIMIT', 0, ARGV[2])
for _, address in ipairs(old) do
  redis.call('ZREM', key('lost'), address)
  redis.call('HDEL', key('known'), address)
end
return { 'purged', #old }
