--- @include "key"

-- All facts about an SFU, living or lost, or nil. `operator_drain` is nil without one, else its deadline (0: none).
local function node_read(address)
  local v = redis.call('HMGET', key('node', address), 'region', 'key', 'fingerprint', 'generation',
    'registered_at', 'instance', 'former_instances', 'shared_at', 'channels', 'sessions', 'max_sessions', 'cpu',
    'memory', 'public_url', 'self_draining', 'reported_at', 'tat', 'operator_drain', 'emptied_at', 'failures',
    'ejections', 'ejected_until', 'ejected_reason', 'permit', 'permit_until', 'probe_until', 'errors',
    'last_error', 'last_error_at', 'recent', 'base', 'joining', 'joining_at', 'round_robin_seq', 'announced',
    'down_at', 'down_reason', 'ejected_since')
  if not v[1] then
    return nil
  end
  return {
    address = address, changes = {},
    region = v[1], key = v[2] or '', fingerprint = v[3] or '', generation = tonumber(v[4] or 0),
    registered_at = tonumber(v[5] or 0), instance = v[6] or '', former_instances = v[7] or '',
    shared_at = tonumber(v[8] or 0), channels = tonumber(v[9] or 0), sessions = tonumber(v[10] or 0),
    max_sessions = tonumber(v[11] or 1), cpu = tonumber(v[12] or 0), memory = tonumber(v[13] or 0),
    public_url = v[14] or '', self_draining = v[15] == '1', reported_at = tonumber(v[16] or 0),
    tat = tonumber(v[17] or 0), operator_drain = tonumber(v[18] or nil), emptied_at = tonumber(v[19] or 0),
    failures = tonumber(v[20] or 0), ejections = tonumber(v[21] or 0), ejected_until = tonumber(v[22] or 0),
    ejected_reason = v[23] or '', permit = v[24] or '', permit_until = tonumber(v[25] or 0),
    probe_until = tonumber(v[26] or 0), errors = tonumber(v[27] or 0), last_error = v[28] or '',
    last_error_at = tonumber(v[29] or 0), recent = tonumber(v[30] or 0), base = tonumber(v[31] or 0),
    joining = tonumber(v[32] or 0), joining_at = tonumber(v[33] or 0), round_robin_seq = tonumber(v[34] or 0),
    announced = v[35] or '', down_at = tonumber(v[36] or 0), down_reason = v[37] or '',
    ejected_since = tonumber(v[38] or 0),
  }
end
