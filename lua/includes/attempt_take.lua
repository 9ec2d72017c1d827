--- @include "key"

-- What the attempt `name` ('<request id>:<number>') has reserved: reserved_at, generation and address of the node, role
-- ('-', or 'last-resort': the node was ejected when it was chosen). Or the `result` that it has been recorded with:
-- 'expired' by the sweeper, else by a replica. The attempt that has the lock of its placement is written there, any
-- other one under a key of its own (attempt_spill). The caller writes what becomes of it.
local function attempt_take(placement, name)
  local text = placement.lock_expires_at > 0 and placement.lock_owner == name and placement.attempt or ''
  if text == '' then
    text = redis.call('GETDEL', key('attempt', name)) or ''
  end
  local reserved_at, generation, role, address = string.match(text, '^(%d+) (%d+) (%S+) (%S+)$')
  if reserved_at then
    return { reserved_at = tonumber(reserved_at), generation = tonumber(generation), role = role, address = address }
  end
  return { result = text ~= '' and text or nil, reserved_at = 0, generation = 0, role = '-', address = '' }
end
