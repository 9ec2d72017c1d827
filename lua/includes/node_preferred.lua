--- @include "choice_reason"
--- @include "list_contains"
--- @include "node_candidate"
--- @include "node_state"

-- The node that a request prefers, and the reason of the choice, if it is selectable, in a region where the request
-- may go, and not tried by the request; else nil. The replica that named it may know another region of it.
local function node_preferred(request, now, learned)
  if list_contains(request.exclude, ' ', request.preferred) then
    return nil
  end
  local node = node_candidate(request.preferred, now)
  if not node or select(3, node_state(node, now, learned)) ~= 'load' then
    return nil
  end
  local number = 0
  for group in string.gmatch(request.groups, '[^|]+') do
    number = number + 1
    if group == '*' or list_contains(group, ',', node.region) then
      return node, choice_reason(number)
    end
  end
  return nil
end
