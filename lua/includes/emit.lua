--- @include "key"
--- @include "policy"

-- Appends a transition to the outbox stream, inside the script that made it.
local function emit(now, type, address, region, reason, generation)
  redis.call('XADD', key('events'), 'MAXLEN', '~', policy.events_kept, '*',
    'type', type, 'address', address, 'region', region, 'reason', reason,
    'generation', generation, 'at', now)
end
