--- @include "key"
--- @include "policy"
--- @include "reserve"
--- @include "save_reserved"
--- @include "start_trial"

-- Gives a node one more channel: its turn when turns decide, the trial of a breaker that is half-open, and
-- the reservation.
local function admit(node, request, now, learned)
  if policy.strategy == 'round-robin' then
    node.turn = redis.call('HINCRBY', key('fleet'), 'turn', 1)
    redis.call('HSET', key('node', node.address), 'turn', node.turn)
  end
  if node.breaker == 'half-open' then
    start_trial(node, now + request.hold_ms)
  end
  reserve(node, now, learned)
  save_reserved(node, now, learned)
end
