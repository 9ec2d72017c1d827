--- @include "clock"
--- @include "event_emit"
--- @include "key"
--- @include "node_end"
--- @include "node_read"
--- @include "policy"
--- @include "silence_clock"
--- @include "silent_most"

-- Ends the registrations whose health deadline has passed, and forgets SFUs that have been down for longer than
-- they stay listed. A few at a time: the sweeper asks until none is due. Deadlines that lie further ahead than any report
-- sets one are from before a step of Redis' clock: their nodes are moved (node_shift).
--
-- Guarantees: never early, also by time in which Redis was away; one `down` event per registration, whichever sweeper asks. When more than half of a fleet
-- of at least five is silent (no report for two thirds of the threshold), the network or Redis is the likely cause:
-- expiry is suspended for one more threshold, and one `mass-expiry` event is written.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many at most
--
-- Returns  {'expired', more due 0|1, the address of each SFU ...}
--          {'suspended', until when in ms}
local now = clock(ARGV[1])
local limit = tonumber(ARGV[2])
local suspension = key('expiry_suspended_until')

local old = redis.call('ZRANGEBYSCORE', key('lost'), '-inf', tostring(now - policy.lost_ttl_ms), 'LIMIT', 0, limit)
for _, address in ipairs(old) do
  redis.call('ZREM', key('lost'), address)
  redis.call('ZREM', key('sfus'), address)
  redis.call('DEL', key('node', address))
end

local ahead_of = '(' .. now + policy.threshold_ms
local ahead = redis.call('ZRANGEBYSCORE', key('deadlines'), ahead_of, '+inf', 'LIMIT', 0, limit)
if #ahead > 0 then
  --- @include "learned_read"
  --- @include "node_save"
  --- @include "node_shift"
  local learned = learned_read(now)
  for _, address in ipairs(ahead) do
    local node = node_read(address)
    if node then
      node_shift(node, now)
      node_save(node, now, learned)
    end
    redis.call('ZADD', key('deadlines'), tostring(now + policy.threshold_ms), address)
  end
end

local due = redis.call('ZRANGEBYSCORE', key('deadlines'), '-inf', tostring(silence_clock(now)), 'LIMIT', 0, limit + 1)
local silent, living = silent_most(now)
if #due == 0 or not silent then
  redis.call('DEL', suspension)
end
if #due > 0 and silent then
  local ends_at = tonumber(redis.call('GET', suspension) or 0)
  if ends_at + policy.threshold_ms <= now then -- none, or of a silence long past
    ends_at = now + policy.threshold_ms
    redis.call('SET', suspension, tostring(ends_at), 'PX', 2 * policy.threshold_ms)
    local fleet = { address = '', region = '', generation = 0 }
    event_emit(now, 'mass-expiry', fleet, silent .. ' of ' .. living .. ' silent')
  end
  if now < ends_at then
    return { 'suspended', ends_at }
  end
end

local ended = {}
for i = 1, math.min(#due, limit) do
  local node = node_read(due[i])
  if not node then -- silent for so long, with no sweeper running, that its hash has run out
    redis.call('ZREM', key('sfus'), due[i])
    redis.call('HINCRBY', key('fleet'), 'epoch', 1)
  end
  if not node or not node_end(node, 'expired', now) then
    redis.call('ZREM', key('deadlines'), due[i])
  end
  ended[#ended + 1] = due[i]
end
return { 'expired', (#due > limit or #ahead == limit) and 1 or 0, unpack(ended) }
