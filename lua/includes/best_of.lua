--- @include "break_tie"
--- @include "key"
--- @include "policy"
--- @include "take"

-- The node for a new channel from one group of regions (names separated by commas): the lowest score wins,
-- '*' is the whole fleet. Nil when there is none, with true when stale entries were in the way.
-- With policy.choices = k, one of the k lowest, each as likely as the other. What `request.random` is left
-- with after the first draw serves the second: independent of it, so every outcome can happen.
local function best_of(group, request, now, learned)
  if policy.choices == 1 and not string.find(group, ',', 1, true) then
    local index = group == '*' and key('load') or key('load', group)
    local taken, again = take(index, 1, request, now, learned)
    return taken[1] and break_tie(index, taken[1], request.random, request, now, learned), again
  end
  local regions, best, again = {}, {}, false
  for region in string.gmatch(group, '[^,]+') do
    regions[#regions + 1] = region
  end
  local first, rest = math.modf(request.random * #regions)
  for i = 1, #regions do
    local region = regions[1 + (first + i) % #regions]
    local index = region == '*' and key('load') or key('load', region)
    local taken, more = take(index, policy.choices, request, now, learned)
    again = again or more
    if policy.choices == 1 and taken[1] then
      best[#best + 1] = break_tie(index, taken[1], rest, request, now, learned)
    else
      for _, node in ipairs(taken) do best[#best + 1] = node end
    end
  end
  if #best > 1 then
    table.sort(best, function(a, b) return tonumber(a.score) < tonumber(b.score) end)
  end
  return best[1 + math.floor(rest * math.min(policy.choices, #best))], again
end
