--- @include "is_excluded"
--- @include "read_candidate"
--- @include "standing"

-- One of the nodes that share `best`'s score, each as likely as the other: `random` in [0, 1) says which.
-- Costs O(log N) however many share it. Where that one will not do, `best` stands.
local function break_tie(index, best, random, request, now, learned)
  if not best.is_tied then
    return best
  end
  local tied = redis.call('ZCOUNT', index, best.score, best.score)
  local first = redis.call('ZCOUNT', index, '-inf', '(' .. best.score)
  local rank = first + math.floor(random * tied)
  local address = redis.call('ZRANGE', index, rank, rank)[1]
  if not address or address == best.address or is_excluded(address, request.exclude) then
    return best
  end
  local node = read_candidate(address, now)
  if node and standing(node, now, learned) == 'selectable' then
    node.score = best.score
    return node
  end
  return best
end
