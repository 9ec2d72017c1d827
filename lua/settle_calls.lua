--- @include "clock"
--- @include "key"
--- @include "placement_read"

-- Notes what Odoo said of calls that an event concerns, so that none of them is announced again for it: calls of an SFU
-- that is gone leave its list; calls that a living SFU keeps are placed there again. Counts the results.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  the newest generation that the event concerns
-- ARGV[4]  the event's stream id
-- ARGV[5]  whether the SFU still lives, 0|1
-- ARGV[6], [7], ...  call (tenant:issuer) and 'moved', 'kept', 'p2p' or 'failed', for each
--
-- Returns  how many there were
local now = clock(ARGV[1])
local fleet, node, lives = key('fleet'), key('node', ARGV[2]), ARGV[5] == '1'
local waited = math.max(0, now - string.match(ARGV[4], '^%d+'))

for i = 6, #ARGV, 2 do
  local call, result = ARGV[i], ARGV[i + 1]
  local tenant, issuer = string.match(call, '^([^:]*):(.*)$')
  local placement = placement_read(tenant, issuer, '')
  if placement.address == ARGV[2] and tonumber(placement.generation) <= tonumber(ARGV[3]) then
    if lives then
      redis.call('HSET', placement.name, 'moving_until', '0', 'kept_in', ARGV[4])
    else
      redis.call('ZREM', key('calls', ARGV[2]), call)
    end
  end
  if lives and redis.call('HEXISTS', node, 'moves') == 1 then
    redis.call('HINCRBY', node, result == 'moved' and 'moved' or result == 'failed' and 'move_failed' or 'kept', 1)
  end
  redis.call('HINCRBY', fleet, 'rescue_' .. result, 1)
  if result == 'failed' then
    redis.call('HSET', fleet, 'rescue_failed_at', tostring(now))
  end
  redis.call('HINCRBY', fleet, 'rescue_ms', string.format('%d', waited))
end
return (#ARGV - 5) / 2
