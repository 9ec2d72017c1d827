--- @include "list_contains"
--- @include "node_candidate"
--- @include "node_state"

-- One of the nodes that share `best`'s score, each as likely as the other: `random` in [0, 1) says which.
-- Costs O(log N) however many share it. Where that one will not do, `best` stands.
local function break_tie(index, tier, best, random, request, now, learned)
  if not best.is_tied then
    return best
  end
  local tied = redis.call('ZCOUNT', index, best.score, best.score)
  local first = best.is_first and 0 or redis.call('ZCOUNT', index, '-inf', '(' .. best.score)
  local rank = string.format('%d', first + math.floor(random * tied))
  local address = redis.call('ZRANGE', index, rank, rank)[1]
  if not address or address == best.address or list_contains(request.exclude, ' ', address) then
    return best
  end
  local node = node_candidate(address, now)
  if node and select(3, node_state(node, now, learned)) == tier then
    node.score = best.score
    return node
  end
  return best
end
