--- @include "key"
--- @include "node_set"

-- Moves the times of a node that reported at a time which lies ahead: Redis' clock has stepped back, or another Redis has
-- taken over. Otherwise an ejection, a permit, a drain and reservations would last as much longer as the step was. The node
-- counts as one that reports now.
local function node_shift(node, now)
  local step = node.reported_at - now
  for _, field in ipairs({ 'ejected_until', 'ejected_since', 'permit_until', 'probe_until', 'joining_at', 'shared_at',
    'operator_drain' }) do
    if (node[field] or 0) > step then
      node_set(node, field, node[field] - step)
    end
  end
  node_set(node, 'reported_at', now)
  if (node.operator_drain or 0) > 0 then
    redis.call('ZADD', key('drains'), 'XX', tostring(node.operator_drain), node.address)
  end
end
