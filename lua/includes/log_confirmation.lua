--- @include "key"
--- @include "policy"

-- Tells all replicas where a channel is, so that the call stays there while Redis is away. `c` as in placement_confirm.
local function log_confirmation(placement, c)
  redis.call('XADD', key('confirmations'), 'MAXLEN', '~', policy.confirmations_kept, '*',
    'tenant', placement.tenant, 'issuer', placement.issuer, 'fingerprint', c.fingerprint, 'address', c.address,
    'generation', c.generation, 'uuid', c.uuid, 'caller', c.caller, 'at', string.format('%d', c.at), 'id', c.id,
    'limited', c.is_limited and '1' or '0', 'other_key', placement.detail ~= placement.issuer and '1' or '0')
end
