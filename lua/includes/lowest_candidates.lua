--- @include "list_contains"
--- @include "node_candidate"
--- @include "node_state"

-- The `count` best nodes of `index`, which belongs to `tier`: lowest score first, each with its `score` as Redis wrote
-- it, with `is_tied`, unless the next entry is known to score higher, and with `is_first` at the head of the index.
-- Removes entries that have expired or that belong to another index by their derived state. Reads 256 entries at most:
-- then it returns what it has found and true, and the caller asks again.
local function lowest_candidates(index, tier, count, request, now, learned)
  local tried = request.exclude == '' and 0 or select(2, string.gsub(request.exclude, '%S+', ''))
  local found, looked, rank = {}, 0, 0
  while looked < 256 do
    local page = redis.call('ZRANGE', index, rank, rank + count + tried, 'WITHSCORES')
    if #page == 0 then
      return found, false
    end
    for i = 1, #page, 2 do
      looked = looked + 1
      if request.exclude ~= '' and list_contains(request.exclude, ' ', page[i]) then
        rank = rank + 1
      else
        local node = node_candidate(page[i], now)
        if not node then
          redis.call('ZREM', index, page[i])
        elseif select(3, node_state(node, now, learned)) ~= tier then
          --- @include "node_read"
          --- @include "node_save"
          redis.call('ZREM', index, page[i])
          node_save(node_read(page[i]), now, learned)
        else
          node.score = page[i + 1]
          if (page[i + 3] or page[i + 1]) == page[i + 1] then
            node.is_tied, node.is_first = true, rank == 0 and i == 1
          end
          found[#found + 1] = node
          rank = rank + 1
          if #found == count then
            return found, false
          end
        end
      end
    end
  end
  return found, true
end
