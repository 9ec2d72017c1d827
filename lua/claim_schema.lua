--- @include "key"

-- Says which layout of the data this process writes, and asks whether it may work with what is there. A
-- schema is set where there is none and raised where ours is newer; it never goes back by itself.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  the schema that the caller writes, a whole number from 1
-- ARGV[2]  the oldest schema whose data the caller can work with
-- ARGV[3]  the newest one
--
-- Returns  {'ok', schema that was found, '' for none}
--          {'newer', schema that was found}: unknown to the caller; nothing was changed
--          {'older', schema that was found}: no longer known to the caller; nothing was changed
local ours, oldest, newest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local text = redis.call('HGET', key('fleet'), 'schema') or ''
local found = text == '' and ours or tonumber(text)

if not found or found > newest then
  return { 'newer', text }
end
if found < oldest then
  return { 'older', text }
end
if text == '' or found < ours then
  redis.call('HSET', key('fleet'), 'schema', ARGV[1])
end
return { 'ok', text }
