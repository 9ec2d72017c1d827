--- @include "key"

-- A node that is alive at `now`, or nil. `deadline` repeats the hash's TTL as a field, so that a script
-- given its own `now` judges health by that clock. `since` is when the hash was made, reservations with it.
local function read_node(address, now)
  local v = redis.call('HMGET', key('node', address), 'region', 'deadline', 'state', 'breaker', 'listed',
    'key', 'fingerprint', 'public_url', 'channels', 'sessions', 'max_sessions', 'cpu', 'memory', 'load',
    'reserved', 'recent', 'base', 'joining', 'joining_at', 'turn', 'trial_until', 'drain_until', 'drained',
    'registered_at', 'since', 'last_seen', 'paced_until', 'generation')
  local deadline = tonumber(v[2] or 0)
  if not v[1] or deadline <= now then
    return nil
  end
  return {
    address = address, region = v[1], deadline = deadline, state = v[3] or '', breaker = v[4] or '',
    listed = v[5] or '', key = v[6] or '', fingerprint = v[7] or '', public_url = v[8] or '',
    channels = tonumber(v[9] or 0), sessions = tonumber(v[10] or 0), max_sessions = tonumber(v[11] or 0),
    cpu = tonumber(v[12] or 0), memory = tonumber(v[13] or 0),
    load = tonumber(v[14] or 0), reserved = tonumber(v[15] or 0),
    recent = tonumber(v[16] or 0), base = tonumber(v[17] or 0),
    joining = tonumber(v[18] or 0), joining_at = tonumber(v[19] or 0), turn = tonumber(v[20] or 0),
    trial_until = tonumber(v[21] or 0), drain_until = tonumber(v[22] or 0), drained = tonumber(v[23] or 0),
    registered_at = tonumber(v[24] or 0), since = tonumber(v[25] or 0), last_seen = tonumber(v[26] or 0),
    paced_until = tonumber(v[27] or 0), generation = tonumber(v[28] or 0),
  }
end
