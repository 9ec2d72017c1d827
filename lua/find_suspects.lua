--- @include "clock"
--- @include "event_emit"
--- @include "key"
--- @include "loss_is_mass"
--- @include "node_read"
--- @include "policy"
--- @include "silence_clock"

-- Returns SFUs that may be dead: their heartbeat is late (policy.late_ms), or they are ejected because a forward failed.
-- Returns none while that holds for most of the fleet. The calls of an SFU that has been ejected for
-- policy.ejected_after_ms (0: never) have to move: one `moving` event per ejection. A few at a time, the longest silent
-- first.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  how many of each kind at most
--
-- Returns  {address, generation, when it reported last in ms} for each
local now = clock(ARGV[1])
if loss_is_mass(now) then
  return {}
end

local late = redis.call('ZRANGEBYSCORE', key('deadlines'), '-inf',
  tostring(silence_clock(now) + policy.threshold_ms - policy.late_ms), 'LIMIT', 0, ARGV[2])
local ejected = redis.call('ZRANGE', key('returning'), 0, ARGV[2] - 1)
local suspects, seen = {}, {}
for _, addresses in ipairs({ late, ejected }) do
  for _, address in ipairs(addresses) do
    local node = not seen[address] and node_read(address)
    seen[address] = true
    if node and node.down_at == 0 then
      suspects[#suspects + 1] = { address, node.generation, node.reported_at }
      local is_long = node.ejected_reason ~= '' and node.ejected_since > 0
        and policy.ejected_after_ms > 0 and node.ejected_since + policy.ejected_after_ms <= now
      if is_long then
        redis.call('HSET', key('node', address), 'ejected_since', '0')
        event_emit(now, 'moving', node, 'ejected')
      end
    end
  end
end
return suspects
