--- @include "key"
--- @include "policy"

-- Tells all replicas where an issuer's channel is, so that they keep it there while Redis is away.
local function log_confirmation(tenant, issuer, address, uuid, at)
  redis.call('XADD', key('confirmations'), 'MAXLEN', '~', policy.confirmations_kept, '*', 'tenant', tenant,
    'issuer', issuer, 'address', address, 'uuid', uuid, 'at', at)
end
