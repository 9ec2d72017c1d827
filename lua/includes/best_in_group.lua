--- @include "key"
--- @include "lowest_candidates"
--- @include "policy"

-- The node for a new channel from one group of regions (names separated by commas): the lowest score of a `tier` wins,
-- '*' is the whole fleet. Nil when there is none, with true when stale entries were in the way.
-- With policy.choices = k, one of the k lowest, each as likely as the other. What `request.random` is left
-- with after the first draw serves the second: independent of it, so every outcome can happen.
local function best_in_group(group, tier, request, now, learned)
  local kind = tier == 'load' and policy.strategy == 'round-robin' and 'round_robin' or tier
  if policy.choices == 1 and not string.find(group, ',', 1, true) then
    local index = group == '*' and key(kind) or key(kind, group)
    local found, again = lowest_candidates(index, tier, 1, request, now, learned)
    if found[1] and found[1].is_tied then
      --- @include "break_tie"
      return break_tie(index, tier, found[1], request.random, request, now, learned), again
    end
    return found[1], again
  end
  local regions, best, again = {}, {}, false
  for region in string.gmatch(group, '[^,]+') do
    regions[#regions + 1] = region
  end
  local first, rest = math.modf(request.random * #regions)
  for i = 1, #regions do
    local region = regions[1 + (first + i) % #regions]
    local index = region == '*' and key(kind) or key(kind, region)
    local found, more = lowest_candidates(index, tier, policy.choices, request, now, learned)
    again = again or more
    if policy.choices == 1 and found[1] then
      --- @include "break_tie"
      best[#best + 1] = break_tie(index, tier, found[1], rest, request, now, learned)
    else
      for _, node in ipairs(found) do best[#best + 1] = node end
    end
  end
  if #best > 1 then
    table.sort(best, function(a, b) return tonumber(a.score) < tonumber(b.score) end)
  end
  return best[1 + math.floor(rest * math.min(policy.choices, #best))], again
end
