--- @include "key"
--- @include "clock"
--- @include "give_back"
--- @include "read_learned"
--- @include "read_node"
--- @include "read_placement"
--- @include "release"
--- @include "save_node"

-- Ends the holds of requests that never reported: their replica died, or Redis lost the report. Gives their
-- reservations back, frees the placement and the half-open permit. A few at a time.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many at most
--
-- Returns  {'reaped', count, more due 0|1}
local now = clock(ARGV[1])
local limit = tonumber(ARGV[2])

local due = redis.call('ZRANGEBYSCORE', key('inflight'), '-inf', now, 'LIMIT', 0, limit + 1)
local learned = #due > 0 and read_learned()
for i = 1, math.min(#due, limit) do
  local tenant, issuer = string.match(due[i], '^([^:]*):(.*)$')
  local placement = read_placement(tenant, issuer)
  if not placement then
    redis.call('ZREM', key('inflight'), due[i])
  else
    local node = placement.address ~= '' and read_node(placement.address, now)
    if node and placement.reserved_at > 0 then
      give_back(node, placement.reserved_at, now, learned)
    end
    if node then
      save_node(node, now, learned) -- its permit, if it had one, has run out with the hold
    end
    if placement.reserved_at > 0 then
      placement.address = ''
    end
    release(tenant, issuer, placement)
  end
end
return { 'reaped', math.min(#due, limit), #due > limit and 1 or 0 }
