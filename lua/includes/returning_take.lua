--- @include "key"
--- @include "node_read"
--- @include "node_save"
--- @include "returning_note"

-- Brings at most `count` nodes whose ejection or half-open permit is over back into the indexes; returns their number.
local function returning_take(count, now, learned)
  local due = redis.call('ZRANGEBYSCORE', key('returning'), '-inf', tostring(now), 'LIMIT', 0, count)
  for _, address in ipairs(due) do
    local node = node_read(address)
    redis.call('ZREM', key('returning'), address)
    if node then
      node_save(node, now, learned)
    end
  end
  returning_note()
  return #due
end
