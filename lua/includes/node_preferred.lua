--- @include "list_contains"
--- @include "node_candidate"
--- @include "node_state"

-- The node that a request prefers, if it is selectable and the request has not tried it; else nil.
local function node_preferred(request, now, learned)
  if list_contains(request.exclude, ' ', request.preferred) then
    return nil
  end
  local node = node_candidate(request.preferred, now)
  return node and select(3, node_state(node, now, learned)) == 'load' and node or nil
end
