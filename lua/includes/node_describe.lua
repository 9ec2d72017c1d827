--- @include "eligibility"
--- @include "key"
--- @include "node_state"
--- @include "policy"

-- Returns a JSON list of what is known of a node: the fields of `SfuStatus` (app/registry/sfus.py), in their order, but for
-- the last, the time. A list takes a third of the room of named members, and two thirds of the time.
local function node_describe(n, now, learned, sealed_key)
  local state, reason, tier = node_state(n, now, learned)
  local is_out = n.ejected_reason ~= ''
  local is_open = is_out and n.failures >= policy.failure_threshold and n.down_at == 0
  local v = redis.call('HMGET', key('node', n.address), 'setup', 'moves', 'moved', 'kept', 'move_failed')
  return cjson.encode({
    n.address, n.region, state, not is_open and 'closed' or n.ejected_until > now and 'open' or 'half-open',
    n.generation, math.max(0, now - n.reported_at), reason, tier or '', eligibility(state, tier),
    sealed_key, n.public_url, n.last_error, v[1] or '', n.down_reason,
    n.channels, n.sessions, n.max_sessions, n.reserved, n.load, n.effective, n.cpu, n.memory,
    policy.weight_sessions * (n.sessions + n.reserved) / n.max_sessions, policy.weight_cpu * n.cpu,
    policy.weight_memory * n.memory, n.round_robin_seq, n.registered_at, n.operator_drain or 0,
    n.failures, n.ejections, is_out and n.ejected_since or 0, is_out and math.max(0, n.ejected_until - now) or 0,
    n.errors, n.last_error_at, n.shared_at > 0 and now - n.shared_at < 2 * policy.threshold_ms,
    (v[2] or -1) + 0, (v[3] or 0) + 0, (v[4] or 0) + 0, (v[5] or 0) + 0, n.down_at,
  })
end
