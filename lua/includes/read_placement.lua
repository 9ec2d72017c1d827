--- @include "key"
--- @include "read_hash"

-- Where a tenant's issuer was placed, or nil. `holder` is the request that is placing it right now, until
-- `held_until` (ms); `reserved_at` is 0 when no reservation can be given back.
local function read_placement(tenant, issuer)
  return read_hash(key('placement', tenant, issuer), 3, {
    'address', 'holder', 'uuid', 'attempt', 'held_until', 'reserved_at', 'confirmed_at',
  })
end
