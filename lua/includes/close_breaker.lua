--- @include "emit"
--- @include "key"
--- @include "policy"
--- @include "readmit"

-- Closes a node's breaker after a success. How often it opened is remembered for a while, so that a node
-- that fails again soon stays out longer.
local function close_breaker(node, now)
  local name = key('breaker', node.address)
  redis.call('HSET', name, 'state', 'closed', 'failures', 0, 'open_until', 0)
  redis.call('PEXPIRE', name, 2 * policy.max_open_ms)
  redis.call('ZREM', key('probes'), node.address)
  if node.state ~= 'failed' then
    readmit(node)
  end
  if node.breaker ~= 'closed' then
    emit(now, 'breaker-closed', node.address, node.region, 'success', node.generation)
  end
  node.breaker = 'closed'
  node.trial_until = 0
end
