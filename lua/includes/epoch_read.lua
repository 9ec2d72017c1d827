--- @include "key"

-- The fleet's epoch: when the registry's data began and how often members or generations have changed since;
-- '' while it is empty. And the first part alone: another one means that data was lost.
local function epoch_read()
  local v = redis.call('HMGET', key('fleet'), 'began_at', 'epoch')
  local began_at = v[1] or ''
  return began_at ~= '' and began_at .. '-' .. (v[2] or 0) or '', began_at
end
