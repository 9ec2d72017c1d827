--- @include "key"
--- @include "node_silent"

-- A node of an index that is living at `now`, or nil, with only the fields that a placement needs, because each field
-- read costs time. `+ 0` converts a text to a number, faster than tonumber. A node that is not
-- in plain service is read whole.
local function node_candidate(address, now)
  local v = redis.call('HMGET', key('node', address), 'reported_at', 'region', 'generation', 'key', 'public_url',
    'sessions', 'max_sessions', 'cpu', 'memory', 'recent', 'base', 'joining', 'joining_at', 'announced')
  if not v[2] or not v[1] or node_silent(v[1], now) then
    return nil
  end
  if v[14] ~= 'up' then
    --- @include "node_read"
    return node_read(address)
  end
  return {
    address = address, is_partial = true, region = v[2], generation = v[3], key = v[4],
    public_url = v[5] or '', sessions = v[6] + 0, max_sessions = v[7] + 0, cpu = v[8] + 0, memory = v[9] + 0,
    recent = (v[10] or 0) + 0, base = (v[11] or 0) + 0, joining = (v[12] or 0) + 0,
    joining_at = (v[13] or 0) + 0, ejected_reason = '', reserved = 0, load = 0, effective = 0, score = '',
  }
end
