--- @include "key"
--- @include "write_hash"

-- Ends a request's hold on a placement. One that points nowhere is deleted.
local function release(tenant, issuer, placement)
  local name = key('placement', tenant, issuer)
  redis.call('ZREM', key('inflight'), tenant .. ':' .. issuer)
  if placement.address == '' then
    redis.call('DEL', name)
    redis.call('ZREM', key('tenant', tenant), issuer)
    return
  end
  placement.holder, placement.held_until, placement.reserved_at = '', 0, 0
  write_hash(name, placement, 'address', 'holder', 'held_until', 'reserved_at', 'uuid', 'confirmed_at')
end
