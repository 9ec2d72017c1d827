--- @include "key"

-- Every key as Lua builds it, for the contract test that holds `includes/key.lua` and `app/registry/keys.py` together.
--
-- KEYS[1]  the namespace's prefix
-- ARGV     an address, a region, a tenant, an issuer, a channel's uuid
--
-- Returns  key names
local address, region, tenant, issuer, uuid = unpack(ARGV)
return {
  key('node', address), key('deadlines'), key('known'), key('lost'), key('fleet'), key('events'),
  key('load'), key('load', region), key('overloaded'), key('overloaded', region),
  key('members', region), key('ejected', region), key('breaker', address), key('probes'),
  key('placement', tenant, issuer), key('inflight'), key('tenant', tenant), key('channel', uuid),
  key('confirmations'),
  key('draining'), key('read'), key('sweeper'),
}
