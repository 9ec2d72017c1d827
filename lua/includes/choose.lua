--- @include "break_tie"
--- @include "key"
--- @include "take"

-- The node for a new channel and the number of the region group it came from; nil when no group has one,
-- with true when stale entries were in the way and asking again makes sense. `request.groups` lists groups
-- of regions in order of preference; within a group the lowest score wins, '*' is the whole fleet.
-- With policy.choices = k, one of the k lowest, each as likely as the other. What `request.random` is left
-- with after the first draw serves the second: independent of it, so every outcome can happen.
local function choose(request, now, policy, learned)
  local again = false
  for number, group in ipairs(request.groups) do
    local best = {}
    local first, rest = math.modf(request.random * #group)
    for i = 1, #group do
      local region = group[1 + (first + i) % #group]
      local index = region == '*' and key('load') or key('load', region)
      local taken, more = take(index, policy.choices, request, now, policy, learned)
      again = again or more
      if policy.choices == 1 and taken[1] then
        local node = break_tie(index, taken[1], rest, request, now, policy, learned)
        node.score = taken[1].score
        best[#best + 1] = node
      else
        for _, node in ipairs(taken) do best[#best + 1] = node end
      end
    end
    if #best > 0 then
      table.sort(best, function(a, b) return tonumber(a.score) < tonumber(b.score) end)
      local among = math.min(policy.choices, #best)
      return best[1 + math.floor(rest * among)], number
    end
  end
  return nil, again
end
