--- @include "clock"
--- @include "ejection_start"
--- @include "learned_read"
--- @include "node_health"
--- @include "node_read"
--- @include "node_save"
--- @include "node_set"

-- Records the outcome of a probe of an ejected SFU. An SFU that answered is half-open: it gets one request at a time.
-- An SFU that did not answer is ejected again, for longer.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  whether it answered, 0|1
-- ARGV[4]  random in [0, 1)
--
-- Returns  {'ok', the SFU's state}
--          {'ok', 'gone'}  it is not registered
local now = clock(ARGV[1])
local node = node_read(ARGV[2])

if not node or node.down_at > 0 then
  return { 'ok', 'gone' }
end
local is_out = node_health(node, now) == 'ejected' or node.ejected_reason ~= '' and node.ejected_until > now
if is_out then
  node_set(node, 'ejected_until', now)
  node_set(node, 'probe_until', 0)
  if ARGV[3] == '0' then
    ejection_start(node, node.ejected_reason, now, tonumber(ARGV[4]))
  end
end
return { 'ok', node_save(node, now, learned_read(now)) }
