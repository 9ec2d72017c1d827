--- @include "best_of"

-- The node for a new channel and the number of the region group it came from; nil when no group has one,
-- with true when stale entries were in the way and asking again makes sense. `request.groups` are groups in
-- order of preference, separated by '|'.
local function choose(request, now, learned)
  local groups, again = request.groups, false
  local number, start = 1, 1
  while start do
    local bar = string.find(groups, '|', start, true)
    local node, more = best_of(string.sub(groups, start, bar and bar - 1), request, now, learned)
    if node then
      return node, number
    end
    again = again or more
    number, start = number + 1, bar and bar + 1
  end
  return nil, again
end
