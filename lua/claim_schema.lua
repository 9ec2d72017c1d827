--- @include "key"

-- Checks whether a process can work with the layout of the data, and stores the layout that it writes. The script sets
-- a missing schema and raises an older one; it never lowers it.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  the schema that the caller writes, a whole number from 1
-- ARGV[2]  the oldest schema whose data the caller can work with
-- ARGV[3]  the newest one
--
-- Returns  {'ok', schema that was found, '' for none}
--          {'newer', schema that was found}: unknown to the caller; nothing has changed
--          {'older', schema that was found}: no longer known to the caller; nothing has changed
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
