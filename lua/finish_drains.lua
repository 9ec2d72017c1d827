--- @include "clock"
--- @include "key"
--- @include "learned_read"
--- @include "node_read"
--- @include "node_save"

-- Writes one event for each drain deadline that has passed: these SFUs no longer keep their calls. A few at a time.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many at most
--
-- Returns  {'ok', count, more due 0|1}
local now = clock(ARGV[1])
local limit = tonumber(ARGV[2])

local due = redis.call('ZRANGEBYSCORE', key('drains'), '-inf', tostring(now), 'LIMIT', 0, limit + 1)
local learned = #due > 0 and learned_read(now)
for i = 1, math.min(#due, limit) do
  local node = node_read(due[i])
  if node then
    node_save(node, now, learned)
  end
  redis.call('ZREM', key('drains'), due[i])
end
return { 'ok', math.min(#due, limit), #due > limit and 1 or 0 }
