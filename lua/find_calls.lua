--- @include "clock"
--- @include "loss_is_mass"
--- @include "placement_read"

-- Returns the named calls that an event about their SFU still concerns: their placement points to that address and to
-- the registration that ended, or an earlier one. A call that has moved, or that the same order has kept, is left out.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  the newest generation that the event concerns
-- ARGV[4]  the event's stream id
-- ARGV[5]  for how many ms those calls are placed elsewhere although their SFU lives; 0: it does not
-- ARGV[6]  whether the event may be one of many that have another cause: with 1, none while most of the fleet is gone
-- ARGV[7..] calls as `calls` has them: tenant:issuer
--
-- Returns  {whether most of the fleet is gone 0|1, {call, uuid}, ...}
local now = clock(ARGV[1])
local moving_ms = tonumber(ARGV[5])
if ARGV[6] == '1' and loss_is_mass(now) then
  return { 1 }
end

local found = { 0 }
for i = 7, #ARGV do
  local tenant, issuer = string.match(ARGV[i], '^([^:]*):(.*)$')
  local placement = placement_read(tenant, issuer, '')
  local is_concerned = placement.address == ARGV[2] and placement.confirmed_at > 0 and placement.uuid ~= ''
    and tonumber(placement.generation) <= tonumber(ARGV[3])
  if is_concerned and placement.kept_in ~= ARGV[4] then
    if moving_ms > 0 then
      redis.call('HSET', placement.name, 'moving_until', tostring(now + moving_ms))
    end
    found[#found + 1] = { ARGV[i], placement.uuid }
  end
end
return found
