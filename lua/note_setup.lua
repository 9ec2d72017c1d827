--- @include "key"

-- Notes a defect in the set-up of an SFU that a replica has seen, for operators. The SFU serves all the same.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, not used
-- ARGV[2]  address
-- ARGV[3]  generation of the SFU that was looked at
-- ARGV[4]  codes, separated by spaces; '' when nothing is wrong
--
-- Returns  1 when it was noted, 0 when that registration is over
local node = key('node', ARGV[2])
local v = redis.call('HMGET', node, 'generation', 'down_at')
if v[1] ~= ARGV[3] or v[2] then
  return 0
end
if ARGV[4] == '' then
  redis.call('HDEL', node, 'setup')
else
  redis.call('HSET', node, 'setup', ARGV[4])
end
return 1
