--- @include "best_in_group"
--- @include "choice_reason"
--- @include "key"

-- The node for a new channel, the number of the region group it came from, and the reason of the choice. Selectable
-- nodes of all groups come first, then ejected ones: the last resort, and among those `preferred`, which has the call.
-- Without any: nil, then true when stale entries were in the way and asking again makes sense, then 'overloaded' when
-- one of the regions has a node that is out by load alone, else 'none'.
-- `request.groups` are groups of regions in order of preference, separated by '|'.
local function select_node(request, preferred, now, learned)
  local again = false
  local tier, number, start = 'load', 1, 1
  while start do
    local bar = string.find(request.groups, '|', start, true)
    local node, more = best_in_group(string.sub(request.groups, start, bar and bar - 1), tier, request, now, learned)
    if node then
      return node, number, tier == 'ejected' and 'last-resort' or choice_reason(number)
    end
    again = again or more
    number, start = number + 1, bar and bar + 1
    if not start and tier == 'load' then
      if preferred then
        return preferred, 1, 'last-resort'
      end
      tier, number, start = 'ejected', 1, 1
    end
  end
  for region in string.gmatch(request.groups, '[^|,]+') do
    local name = region == '*' and key('overloaded') or key('overloaded', region)
    if redis.call('ZCARD', name) > 0 then
      return nil, again, 'overloaded'
    end
  end
  return nil, again, 'none'
end
