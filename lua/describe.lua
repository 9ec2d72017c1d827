--- @include "clock"
--- @include "key"
--- @include "learned_read"
--- @include "node_health"
--- @include "node_read"
--- @include "node_state"
--- @include "policy"

-- Describes SFUs, living and lost, for operators: health, listings, explanations. Changes nothing. Not for a
-- request path: the caller passes a page of addresses.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2..] addresses
--
-- Returns  one JSON text per known address: address, region, state and its reason, breaker, load, its terms,
--          effective load, figures, errors, times in ms; never a key
local now = clock(ARGV[1])
local learned = learned_read(now)

local described = {}
for i = 2, #ARGV do
  local node = node_read(ARGV[i])
  if node then
    local state, reason, tier = node_state(node, now, learned)
    local move = redis.call('HMGET', key('node', ARGV[i]), 'moves', 'moved', 'kept', 'move_failed', 'setup')
    local is_open = node.ejected_reason ~= '' and node.failures >= policy.failure_threshold and node.down_at == 0
    described[#described + 1] = cjson.encode({
      address = node.address, state = state, reason = reason, tier = tier or '', region = node.region,
      breaker = not is_open and 'closed' or node.ejected_until > now and 'open' or 'half-open',
      generation = node.generation, load = node.load, effective_load = node.effective, reserved = node.reserved,
      channels = node.channels, sessions = node.sessions, max_sessions = node.max_sessions,
      cpu = node.cpu, memory = node.memory, public_url = node.public_url,
      sessions_term = policy.weight_sessions * (node.sessions + node.reserved) / node.max_sessions,
      cpu_term = policy.weight_cpu * node.cpu, memory_term = policy.weight_memory * node.memory,
      at = now, registered_at = node.registered_at, heartbeat_age_ms = math.max(0, now - node.reported_at),
      drain_until = node.operator_drain or 0, round_robin_seq = node.round_robin_seq,
      failures = node.failures, ejections = node.ejections,
      ejected_since = node.ejected_reason ~= '' and node.ejected_since or 0,
      ejected_for_ms = node.ejected_reason ~= '' and math.max(0, node.ejected_until - now) or 0,
      errors = node.errors, last_error = node.last_error, last_error_at = node.last_error_at,
      is_shared = node.shared_at > 0 and now - node.shared_at < 2 * policy.threshold_ms,
      moves = move[1] and tonumber(move[1]) or -1, moved = tonumber(move[2] or 0), kept = tonumber(move[3] or 0),
      move_failed = tonumber(move[4] or 0), setup = move[5] or '', down_at = node.down_at, down_reason = node.down_reason,
    })
  end
end
return described
