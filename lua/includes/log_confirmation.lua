--- @include "key"
--- @include "policy"

-- Tells all replicas where a channel is, so that the call stays there while Redis is away. `c` as in placement_confirm.
-- One field with a line for each fact, the issuer last: an entry of many fields takes Redis and each replica far longer.
local function log_confirmation(placement, c)
  redis.call('XADD', key('confirmations'), 'MAXLEN', '~', policy.confirmations_kept, '*', 'call',
    placement.tenant .. '\n' .. c.fingerprint .. '\n' .. c.address .. '\n' .. c.generation .. '\n' .. c.uuid .. '\n'
    .. c.caller .. '\n' .. string.format('%d', c.at) .. '\n' .. c.id .. '\n' .. (c.is_limited and '1' or '0') .. '\n'
    .. (placement.detail ~= placement.issuer and '1' or '0') .. '\n' .. placement.issuer)
end
