--- @include "clock"
--- @include "ejection_clear"
--- @include "learned_read"
--- @include "node_registered"
--- @include "node_save"
--- @include "node_set"

-- Ends an SFU's ejection by an operator's order: its failures, and how often it was ejected, are forgotten. An SFU that
-- is not ejected stays as it is.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
--
-- Returns  {'ok'}
--          {'unknown'}
--          {'down'}  the SFU is not registered now: its failures have ended with its registration
local now = clock(ARGV[1])
local node, refusal = node_registered(ARGV[2])

if not node then
  return { refusal }
end
if node.failures > 0 or node.ejected_reason ~= '' then
  ejection_clear(node, now, 'operator')
  node_set(node, 'ejected_until', now)
  node_set(node, 'probe_until', 0)
end
node_set(node, 'ejections', 0)
node_set(node, 'errors', 0)
node_save(node, now, learned_read(now))
return { 'ok' }
