--- @include "key"

-- Whether a tenant already has as many placed channels as it may have. Channels whose placement has run
-- out are forgotten first; one that the tenant has already never counts twice.
local function over_limit(request, now)
  if not request.max_channels then
    return false
  end
  local name = key('tenant', request.tenant)
  redis.call('ZREMRANGEBYSCORE', name, '-inf', now)
  return redis.call('ZCARD', name) >= request.max_channels
    and not redis.call('ZSCORE', name, request.issuer)
end
