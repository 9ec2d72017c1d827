--- @include "node_state"

-- What a replica that places without Redis may do with a node, and the node's derived state: 'selectable', new channels;
-- 'sticky-only', its calls and no others; 'last-resort', it is ejected; nil, nothing: its calls do not stay either.
local function eligibility(node, now, learned)
  local state, _, tier = node_state(node, now, learned)
  if tier == 'load' then
    return 'selectable', state
  end
  if not tier and state ~= 'draining' then
    return nil, state
  end
  return state == 'ejected' and 'last-resort' or 'sticky-only', state
end
