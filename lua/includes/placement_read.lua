--- @include "key"

-- Where a tenant's issuer is placed. Without a placement every field is empty.
--   name         its key
--   detail       the rest of its key's name: the issuer, or 'issuer#fingerprint' where another channel key
--                (`fingerprint`, '' for unknown) has the issuer's own name: two databases under one issuer
--   confirmed_at 0 until a channel is known to exist; till then `address` is where one may exist
--   lock_owner   the attempt ('<request id>:<number>') that is placing it until lock_expires_at (ms); 0: that placed it
--                last
--   moving_until until when Odoo is asked to move the call to another SFU (ms)
--   key_fingerprint  of the channel key that has this name
--   kept_in      the event for which rescue left the call where it is, nil for none
--   attempt      what the lock's owner has reserved: attempt_parse reads it
local function placement_read(tenant, issuer, fingerprint)
  local detail, name = issuer, key('placement', tenant, issuer)
  local fields = redis.call('HGETALL', name)
  if fingerprint ~= '' then
    local has_other = false
    for i = 1, #fields, 2 do
      if fields[i] == 'key_fingerprint' then
        has_other = fields[i + 1] ~= '' and fields[i + 1] ~= fingerprint
      end
    end
    if has_other or not fields[1] then
      local own = issuer .. '#' .. fingerprint
      local own_name = key('placement', tenant, own)
      local own_fields = redis.call('HGETALL', own_name)
      if has_other or own_fields[1] then
        detail, name, fields = own, own_name, own_fields
      end
    end
  end
  local placement = {
    tenant = tenant, issuer = issuer, detail = detail, name = name, exists = fields[1] ~= nil, address = '',
    generation = '0', uuid = '', confirmed_at = 0, confirmed_by = '', caller = '', lock_owner = '',
    lock_expires_at = 0, attempt = '', moving_until = 0, key_fingerprint = '',
  }
  if placement.exists then
    for i = 1, #fields, 2 do
      placement[fields[i]] = fields[i + 1]
    end
    placement.confirmed_at, placement.lock_expires_at, placement.moving_until =
      placement.confirmed_at + 0, placement.lock_expires_at + 0, placement.moving_until + 0
  end
  return placement
end
