--- @include "key"

-- What the attempt `name` ('<request id>:<number>') has reserved, as a text for attempt_parse, '' for nothing. Or '' and
-- the result that it has been recorded with: 'expired' by the sweeper, else by a replica. The attempt that has the lock of
-- its placement is written there, any other one under a key of its own (attempt_spill). The caller writes what becomes
-- of it.
local function attempt_take(placement, name)
  local text = placement.lock_expires_at > 0 and placement.lock_owner == name and placement.attempt or ''
  if text == '' then
    text = redis.call('GETDEL', key('attempt', name)) or ''
  end
  if text == '' or string.find(text, ' ', 1, true) then
    return text, nil
  end
  return '', text
end
