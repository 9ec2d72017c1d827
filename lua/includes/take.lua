--- @include "is_excluded"
--- @include "key"
--- @include "read_node"
--- @include "save_node"
--- @include "standing"

-- The `count` best nodes of one load index, lowest score first, each with its `score` as Redis wrote it.
-- The index holds selectable nodes only; what has expired since, unswept, or no longer qualifies is taken
-- out on sight. Looks at 256 entries at most: then it returns what it has and true, and the caller asks
-- again, each time with less in the way.
local function take(index, count, request, now, policy, learned)
  local taken, looked, rank = {}, 0, 0
  while looked < 256 do
    local page = redis.call('ZRANGE', index, rank, rank + count + #request.exclude - 1, 'WITHSCORES')
    if #page == 0 then
      return taken, false
    end
    for i = 1, #page, 2 do
      looked = looked + 1
      if is_excluded(page[i], request.exclude) then
        rank = rank + 1
      else
        local node = read_node(page[i], now)
        if not node then
          redis.call('ZREM', index, page[i])
        elseif standing(node, now, policy, learned) ~= 'selectable' then
          save_node(node, now, policy, learned)
        else
          node.score = page[i + 1]
          taken[#taken + 1] = node
          rank = rank + 1
          if #taken == count then
            return taken, false
          end
        end
      end
    end
  end
  return taken, true
end
