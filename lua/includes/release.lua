--- @include "key"

-- Ends a request's hold on a placement. One that points nowhere is deleted.
local function release(tenant, issuer, placement)
  local name = key('placement', tenant, issuer)
  redis.call('ZREM', key('inflight'), tenant .. ':' .. issuer)
  if placement.address == '' then
    redis.call('DEL', name)
    redis.call('ZREM', key('tenant', tenant), issuer)
    return
  end
  redis.call('HSET', name, 'holder', '', 'held_until', '0', 'reserved_at', '0',
    'uuid', placement.uuid, 'confirmed_at', placement.confirmed_at)
end
