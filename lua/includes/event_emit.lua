--- @include "key"
--- @include "policy"

-- Appends an event about `node` (for the fleet: address and region '', generation 0) to the outbox stream,
-- inside the script that made the change. `state` is the node's from then on, nil where the event changes none.
local function event_emit(now, type, node, reason, state)
  redis.call('XADD', key('events'), 'MAXLEN', '~', policy.events_kept, '*',
    'type', type, 'address', node.address, 'region', node.region, 'reason', reason,
    'generation', node.generation, 'at', now, 'state', state or '')
end
