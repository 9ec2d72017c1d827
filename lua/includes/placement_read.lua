--- @include "key"

-- Where a tenant's issuer is placed. Without a placement every field is empty.
--   detail       the rest of its key's name: the issuer, or 'issuer#fingerprint' where another channel key
--                (`fingerprint`, '' for unknown) has the issuer's own name: two databases under one issuer
--   confirmed_at 0 until a channel is known to exist; till then `address` is where one may exist
--   lock_owner   the attempt ('<request id>:<number>') that is placing it until lock_expires_at (ms); 0: that placed it
--                last
--   moving_until until when Odoo is asked to move the call to another SFU (ms)
--   key_fingerprint  of the channel key that has this name
--   attempt      what the lock's owner has reserved: attempt_take reads it
local function placement_read(tenant, issuer, fingerprint)
  local function fields(detail)
    return redis.call('HMGET', key('placement', tenant, detail), 'address', 'generation', 'uuid', 'confirmed_at',
      'caller', 'lock_owner', 'lock_expires_at', 'attempt', 'moving_until', 'key_fingerprint')
  end
  local detail, v = issuer, fields(issuer)
  if fingerprint ~= '' then
    local has_other = v[10] and v[10] ~= '' and v[10] ~= fingerprint
    if has_other or not v[1] then
      local own = issuer .. '#' .. fingerprint
      local w = fields(own)
      if has_other or w[1] then
        detail, v = own, w
      end
    end
  end
  return {
    tenant = tenant, issuer = issuer, detail = detail, exists = v[1], address = v[1] or '',
    generation = v[2] or '0', uuid = v[3] or '', confirmed_at = (v[4] or 0) + 0, caller = v[5] or '',
    lock_owner = v[6] or '', lock_expires_at = (v[7] or 0) + 0, attempt = v[8] or '',
    moving_until = (v[9] or 0) + 0, key_fingerprint = v[10] or '',
  }
end
