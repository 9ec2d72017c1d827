--- @include "clock"
--- @include "key"
--- @include "policy"
--- @include "read_learned"
--- @include "read_node"
--- @include "recall"
--- @include "standing"

-- Describes SFUs, living and lost, for people: health, listings, explanations. Changes nothing. Not for a
-- request path: the caller passes a page of addresses.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2..] addresses
--
-- Returns  one JSON text per known address: address, region, state, standing, breaker, load, its terms,
--          effective load, figures, times in ms; never a key
local now = clock(ARGV[1])
local learned = read_learned()

local described = {}
for i = 2, #ARGV do
  local address = ARGV[i]
  local node, last = read_node(address, now), recall(address)
  local breaker = redis.call('HMGET', key('breaker', address), 'state', 'failures', 'opens', 'open_until')
  local text
  if node then
    local stands = standing(node, now, learned)
    text = {
      standing = stands, state = node.state, region = node.region, generation = node.generation,
      load = node.load, effective_load = node.effective, reserved = node.reserved,
      channels = node.channels, sessions = node.sessions, max_sessions = node.max_sessions,
      cpu = node.cpu, memory = node.memory, public_url = node.public_url,
      sessions_term = policy.weight_sessions * (node.sessions + node.reserved) / node.max_sessions,
      cpu_term = policy.weight_cpu * node.cpu, memory_term = policy.weight_memory * node.memory,
      registered_at = node.registered_at, heartbeat_age_ms = now - node.last_seen,
      drain_until = node.drain_until, drained = node.drained == 1, turn = node.turn,
    }
  elseif last then
    text = {
      standing = 'down', state = 'down', region = last.region, generation = last.generation,
      channels = last.channels, sessions = last.sessions, max_sessions = last.max_sessions,
      registered_at = last.registered_at, heartbeat_age_ms = now - (last.last_seen or now),
      down_at = last.down_at, down_reason = last.reason,
    }
  end
  if text then
    text.address = address
    text.breaker = node and node.breaker or breaker[1] or 'closed'
    text.failures, text.opens = tonumber(breaker[2] or 0), tonumber(breaker[3] or 0)
    text.open_for_ms = math.max(0, tonumber(breaker[4] or 0) - now)
    described[#described + 1] = cjson.encode(text)
  end
end
return described
