--- @include "key"

-- Whether a limited tenant already has as many placed issuers as it may have. Placements that have run out are forgotten first;
-- an issuer that the tenant has already never counts twice.
local function tenant_over_limit(placement, request, now)
  local name = key('tenant', placement.tenant)
  redis.call('ZREMRANGEBYSCORE', name, '-inf', tostring(now))
  return redis.call('ZCARD', name) >= request.max_placements
    and not redis.call('ZSCORE', name, placement.detail)
end
