--- @include "key"

-- A node of the load index that is alive at `now`, or nil, with no more of it than placing a channel takes:
-- what a placement costs goes by the fields that it reads. `+ 0` makes a number of a text, faster than tonumber.
-- Fields that another version may not write have defaults here as in read_node.
local function read_candidate(address, now)
  local v = redis.call('HMGET', key('node', address), 'region', 'deadline', 'state', 'breaker', 'key',
    'public_url', 'sessions', 'max_sessions', 'cpu', 'memory', 'recent', 'base', 'joining', 'joining_at')
  if not v[1] or v[2] + 0 <= now then
    return nil
  end
  local is_half_open = v[4] == 'half-open'
  return {
    address = address, region = v[1], state = v[3], breaker = v[4], key = v[5], public_url = v[6] or '',
    sessions = v[7] + 0, max_sessions = v[8] + 0, cpu = v[9] + 0, memory = v[10] + 0,
    recent = (v[11] or 0) + 0, base = (v[12] or 0) + 0,
    joining = (v[13] or 0) + 0, joining_at = (v[14] or 0) + 0, listed = 'selectable',
    trial_until = is_half_open and (redis.call('HGET', key('node', address), 'trial_until') or 0) + 0 or 0,
  }
end
