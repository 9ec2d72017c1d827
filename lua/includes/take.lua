--- @include "is_excluded"
--- @include "read_candidate"
--- @include "save_reserved"
--- @include "standing"

-- The `count` best nodes of one load index, lowest score first, each with its `score` as Redis wrote it and
-- with `is_tied`, unless the next entry is known to score higher.
-- The index holds selectable nodes only; what has expired since, unswept, or no longer qualifies is taken
-- out on sight. Looks at 256 entries at most: then it returns what it has and true, and the caller asks
-- again, each time with less in the way.
local function take(index, count, request, now, learned)
  local tried = request.exclude == '' and 0 or select(2, string.gsub(request.exclude, '%S+', ''))
  local taken, looked, rank = {}, 0, 0
  while looked < 256 do
    local first, last = string.format('%d', rank), string.format('%d', rank + count + tried)
    local page = redis.call('ZRANGE', index, first, last, 'WITHSCORES')
    if #page == 0 then
      return taken, false
    end
    for i = 1, #page, 2 do
      looked = looked + 1
      if is_excluded(page[i], request.exclude) then
        rank = rank + 1
      else
        local node = read_candidate(page[i], now)
        if not node then
          redis.call('ZREM', index, page[i])
        elseif standing(node, now, learned) ~= 'selectable' then
          save_reserved(node, now, learned)
        else
          node.score, node.is_tied = page[i + 1], (page[i + 3] or page[i + 1]) == page[i + 1]
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
