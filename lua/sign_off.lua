--- @include "clock"
--- @include "read_node"
--- @include "remove_node"

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
local address = ARGV[2]

local node = read_node(address, now)
if node and node.fingerprint ~= ARGV[3] and node.fingerprint ~= ARGV[4] then
  return { 'leased', node.key }
end
return { 'ok', remove_node(address, 'signed-off', now) and 1 or 0 }
