--- @include "key"

-- Every key as Lua builds it, for the contract test that holds `includes/key.lua` and `app/registry/keys.py` together.
--
-- KEYS[1]  the namespace's prefix
-- ARGV     an address, a region, a tenant, an issuer, a channel's uuid
--
-- Returns  key names
local address, region, tenant, issuer, uuid = unpack(ARGV)
return {
  key('node', address), key('sfus'), key('deadlines'), key('lost'), key('drains'), key('returning'), key('fleet'),
  key('events'), key('load'), key('load', region), key('round_robin'), key('round_robin', region), key('ejected'),
  key('ejected', region), key('overloaded'), key('overloaded', region), key('placement', tenant, issuer),
  key('attempts'), key('attempt', 'id:1'), key('tenant', tenant), key('channel', uuid), key('calls', address),
  key('expiry_suspended_until'), key('confirmations'), key('sweeper'),
}
