--- @include "key"

-- Takes or renews the lease of the active sweeper. The lease only saves work: a script decides each transition.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  the sweeper's name
-- ARGV[2]  lease in ms
--
-- Returns  1 when the caller has the lease, else 0
local name = key('sweeper')
local leader = redis.call('GET', name)
if leader and leader ~= ARGV[1] then
  return 0
end
redis.call('SET', name, ARGV[1], 'PX', ARGV[2])
return 1
