--- @include "key"

-- A node that is alive at `now`, or nil, with no more of it than it takes to stay there.
local function read_pinned(address, now)
  local v = redis.call('HMGET', key('node', address), 'region', 'deadline', 'state', 'breaker', 'key',
    'public_url', 'trial_until', 'drain_until')
  if not v[1] or tonumber(v[2] or 0) <= now then
    return nil
  end
  return {
    address = address, region = v[1], state = v[3], breaker = v[4], key = v[5], public_url = v[6] or '',
    trial_until = tonumber(v[7] or 0), drain_until = tonumber(v[8] or 0),
  }
end
