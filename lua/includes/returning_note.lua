--- @include "key"

-- Notes in the fleet's hash when the first of the `returning` nodes is due: each placement reads that hash anyway, and
-- reads the index only when a node is due.
local function returning_note()
  local first = redis.call('ZRANGE', key('returning'), 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('HSET', key('fleet'), 'returns_at', first[2])
  else
    redis.call('HDEL', key('fleet'), 'returns_at')
  end
end
