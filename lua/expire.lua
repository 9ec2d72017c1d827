--- @include "clock"
--- @include "emit"
--- @include "key"
--- @include "policy"
--- @include "remove_node"
--- @include "silent_most"

-- Ends the lives whose health deadline has passed, a few at a time: the sweeper asks until none is due.
--
-- Guarantees: never early; one `down` event per life whoever asks. When more than half of a fleet of at
-- least five is silent (no report for two thirds of the threshold), the network or the store is the
-- suspect: nobody expires for one more threshold, and one `mass-expiry` event says so.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many at most
--
-- Returns  {'expired', count, more due 0|1}
--          {'held', until when in ms}
local now = clock(ARGV[1])
local limit = tonumber(ARGV[2])
local deadlines = key('deadlines')
local fleet = key('fleet')

local due = redis.call('ZRANGEBYSCORE', deadlines, '-inf', now, 'LIMIT', 0, limit + 1)
if #due == 0 then
  redis.call('HDEL', fleet, 'held_until')
  return { 'expired', 0, 0 }
end

local silent, living = silent_most(now)
if silent then
  local held_until = tonumber(redis.call('HGET', fleet, 'held_until') or 0)
  if held_until == 0 then
    held_until = now + policy.threshold_ms
    redis.call('HSET', fleet, 'held_until', held_until)
    emit(now, 'mass-expiry', '', '', silent .. ' of ' .. living .. ' silent', 0)
  end
  if now < held_until then
    return { 'held', held_until }
  end
else
  redis.call('HDEL', fleet, 'held_until')
end

for i = 1, math.min(#due, limit) do
  remove_node(due[i], 'expired', now)
end
return { 'expired', math.min(#due, limit), #due > limit and 1 or 0 }
