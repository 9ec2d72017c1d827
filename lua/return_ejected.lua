--- @include "clock"
--- @include "key"
--- @include "learned_read"
--- @include "node_health"
--- @include "node_read"
--- @include "node_set"
--- @include "policy"
--- @include "returning_take"

-- Brings SFUs back whose ejection or half-open permit is over. Returns SFUs to probe, whose ejection ends within
-- policy.probe_ahead_ms, each to one sweeper for `lease` ms. A few at a time.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many at most
-- ARGV[3]  lease in ms, longer than a probe takes
--
-- Returns  addresses to probe
local now = clock(ARGV[1])

returning_take(ARGV[2], now, learned_read(now))
local soon = redis.call('ZRANGEBYSCORE', key('returning'), '(' .. now, tostring(now + policy.probe_ahead_ms),
  'LIMIT', 0, 4 * ARGV[2])
local claimed = {}
for _, address in ipairs(soon) do
  local node = #claimed < tonumber(ARGV[2]) and node_read(address)
  local is_open = node and node.failures >= policy.failure_threshold and node_health(node, now) == 'ejected'
  if is_open and node.probe_until <= now then
    node_set(node, 'probe_until', now + ARGV[3])
    redis.call('HSET', key('node', address), unpack(node.changes))
    claimed[#claimed + 1] = address
  end
end
return claimed
