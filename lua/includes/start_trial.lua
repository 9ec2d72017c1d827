--- @include "key"

-- Lets a request through to a node whose breaker is half-open, and no other until `trial_until` (ms) or until
-- the request has reported. The caller lists the node anew.
local function start_trial(node, trial_until)
  node.trial_until = trial_until
  redis.call('HSET', key('node', node.address), 'trial_until', trial_until)
end
