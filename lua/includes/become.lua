--- @include "emit"
--- @include "remember"

-- Gives a node another state, with the event that says so. The state is remembered beyond the node's hash,
-- so that a life which goes on after its hash expired is not announced anew.
local function become(node, state, event, reason, now)
  node.state = state
  remember(node)
  emit(now, event, node.address, node.region, reason, node.generation)
end
