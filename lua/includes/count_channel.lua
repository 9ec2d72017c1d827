--- @include "key"

-- Counts an issuer's channel towards its tenant's limit, while there is one.
local function count_channel(request, now, policy)
  if request.max_channels then
    local name = key('tenant', request.tenant)
    redis.call('ZADD', name, now + policy.affinity_ttl_ms, request.issuer)
    redis.call('PEXPIRE', name, policy.affinity_ttl_ms)
  end
end
