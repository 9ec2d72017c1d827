--- @include "key"

-- Remembers the last event that was published, when the caller still has the lease: a sweeper that was paused
-- cannot set a successor back.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  the sweeper's name
-- ARGV[2]  stream id
--
-- Returns  1 when it was remembered, else 0
if redis.call('GET', key('sweeper')) ~= ARGV[1] then
  return 0
end
redis.call('HSET', key('fleet'), 'outbox_cursor', ARGV[2])
return 1
