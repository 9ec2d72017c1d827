--- @include "event_emit"
--- @include "node_set"
--- @include "policy"

-- Counts a failure against a node and ejects it: until its next heartbeat, at most policy.open_ms; from
-- `failure_threshold` failures in a row on, or at once for a wrong key and in half-open, for a time that doubles up
-- to a cap and that heartbeats do not shorten. `random` in [0, 1) stretches it by up to a fifth, so that nodes ejected
-- together do not return together. A failure during such a time is counted and changes nothing else.
local function ejection_start(node, reason, now, random)
  local was_open = node.ejected_reason ~= '' and node.failures >= policy.failure_threshold
  local failures = node.failures + 1
  if reason == 'misconfigured' then
    failures = math.max(failures, policy.failure_threshold)
  end
  node_set(node, 'failures', failures)
  if was_open and node.ejected_until > now then
    return
  end
  if now > node.ejected_until + 2 * policy.max_open_ms then
    node_set(node, 'ejections', 0)
  end
  if node.ejected_reason == '' then
    node_set(node, 'ejected_since', now)
  end
  node_set(node, 'ejected_reason', reason)
  node_set(node, 'permit', '')
  node_set(node, 'permit_until', 0)
  node_set(node, 'probe_until', 0)
  if failures < policy.failure_threshold then
    node_set(node, 'ejected_until', now + policy.open_ms)
    return
  end
  node_set(node, 'ejections', node.ejections + 1)
  local open_ms = math.min(policy.max_open_ms, policy.open_ms * 2 ^ math.min(node.ejections - 1, 20))
  node_set(node, 'ejected_until', math.floor(now + open_ms * (1 + random / 5)))
  if not was_open then
    event_emit(now, 'breaker-open', node, reason, 'ejected')
  end
end
