--- @include "key"

-- Where a tenant's issuer was placed, or nil. `holder` is the request that is placing it right now, until
-- `held_until` (ms); `reserved_at` is 0 when no reservation can be given back.
local function read_placement(tenant, issuer)
  local v = redis.call('HMGET', key('placement', tenant, issuer), 'address', 'holder', 'uuid', 'attempt',
    'held_until', 'reserved_at', 'confirmed_at')
  if not v[1] then
    return nil
  end
  return {
    address = v[1], holder = v[2] or '', uuid = v[3] or '', attempt = tonumber(v[4] or 0),
    held_until = tonumber(v[5] or 0), reserved_at = tonumber(v[6] or 0), confirmed_at = tonumber(v[7] or 0),
  }
end
