--- @include "become"
--- @include "key"
--- @include "may_eject"
--- @include "open_breaker"
--- @include "policy"

-- Counts a failure against a node: it is out for everybody until its next heartbeat, and its breaker opens
-- after `failure_threshold` failures in a row, or at once when it was on trial or has a wrong key. Within
-- the limit of may_eject; past it the failure is counted and the node stays in.
local function blame(node, outcome, now, random)
  local name = key('breaker', node.address)
  local failures = redis.call('HINCRBY', name, 'failures', 1)
  redis.call('HSETNX', name, 'state', 'closed')
  redis.call('PEXPIRE', name, 2 * policy.max_open_ms)
  local on_trial = node.breaker == 'half-open'
  if node.breaker == 'open' or not may_eject(node) then
    return
  end
  if outcome == 'misconfigured' then
    redis.call('HSET', name, 'blamed_key', node.fingerprint)
    become(node, 'misconfigured', 'misconfigured', 'refused its own key', now)
    open_breaker(node, now, random)
    return
  end
  redis.call('HDEL', name, 'blamed_key')
  redis.call('SADD', key('ejected', node.region), node.address)
  if node.state ~= 'failed' then
    become(node, 'failed', 'down', 'failed', now)
  end
  if on_trial or failures >= policy.failure_threshold then
    open_breaker(node, now, random)
  end
end
