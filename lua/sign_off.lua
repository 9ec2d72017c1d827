--- @include "clock"
--- @include "node_end"
--- @include "node_health"
--- @include "node_read"

-- Removes an SFU at once: it says that it is going (roadmap, phase 1, status "down").
--
-- Guarantees: only the holder of the address can sign it off; one `down` event however often it is said.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  fingerprint of the SFU's key
-- ARGV[4]  a former fingerprint of the same key, or ''
--
-- Returns  {'ok', removed 0|1}
--          {'leased', sealed key of the holder}
local now = clock(ARGV[1])
local node = node_read(ARGV[2])

if not node or node.down_at > 0 then
  return { 'ok', 0 }
end
local is_holder = node.fingerprint == ARGV[3] or node.fingerprint == ARGV[4]
if not is_holder and node_health(node, now) ~= 'expired' then
  return { 'leased', node.key }
end
return { 'ok', node_end(node, is_holder and 'signed-off' or 'expired', now) and is_holder and 1 or 0 }
