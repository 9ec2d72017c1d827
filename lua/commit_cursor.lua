--- @include "key"

-- Stores the last event that a reader has processed, if the caller still has the lease: a sweeper that was paused
-- cannot move the cursor of its successor back.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  the sweeper's name
-- ARGV[2]  stream id
-- ARGV[3]  which cursor: 'outbox_cursor' (published) or 'rescue_cursor' (its calls are rescued or given up)
--
-- Returns  1 when it was stored, else 0
if redis.call('GET', key('sweeper')) ~= ARGV[1] then
  return 0
end
redis.call('HSET', key('fleet'), ARGV[3], ARGV[2])
return 1
