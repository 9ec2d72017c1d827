--- @include "key"

-- Where a tenant's issuer is placed. Without a placement every field is empty.
--   detail       the rest of its key's name: the issuer, or 'issuer#fingerprint' where another channel key
--                (`fingerprint`, '' for unknown) has the issuer's own name: two databases under one issuer
--   confirmed_at 0 until a channel is known to exist; till then `address` is where one may exist
--   lock_owner   the attempt ('<request id>:<number>') that is placing it until lock_expires_at (ms); 0: that placed it
--                last
--   moving_until until when Odoo is asked to move the call to another SFU (ms)
--   attempt      what the lock's owner has reserved: attempt_take reads it
local function placement_read(tenant, issuer, fingerprint)
  local detail = issuer
  if fingerprint ~= '' then
    local owner = redis.call('HMGET', key('placement', tenant, issuer), 'key_fingerprint', 'address')
    local has_other = owner[1] and owner[1] ~= '' and owner[1] ~= fingerprint
    local own = issuer .. '#' .. fingerprint
    if has_other or not owner[2] and redis.call('EXISTS', key('placement', tenant, own)) == 1 then
      detail = own
    end
  end
  local v = redis.call('HMGET', key('placement', tenant, detail), 'address', 'generation', 'uuid', 'confirmed_at',
    'caller', 'lock_owner', 'lock_expires_at', 'attempt', 'moving_until')
  return {
    tenant = tenant, issuer = issuer, detail = detail, exists = v[1], address = v[1] or '',
    generation = v[2] or '0', uuid = v[3] or '', confirmed_at = (v[4] or 0) + 0, caller = v[5] or '',
    lock_owner = v[6] or '', lock_expires_at = (v[7] or 0) + 0, attempt = v[8] or '',
    moving_until = (v[9] or 0) + 0,
  }
end
