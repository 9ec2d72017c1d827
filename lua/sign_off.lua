--- @include "clock"
--- @include "loss_is_mass"
--- @include "node_end"
--- @include "node_health"
--- @include "node_read"

-- Removes an SFU at once: it signs off (roadmap, phase 1, status "down"), or its agent reports that it is gone.
--
-- Guarantees: only the registered key can sign an address off; one `down` event, also for repeated calls. Reports of agents
-- do not count while most of the fleet seems to be gone.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  fingerprint of the SFU's key
-- ARGV[4]  a former fingerprint of the same key, or ''
-- ARGV[5]  whether the SFU is gone already, 0|1: the reason is `unreachable`
--
-- Returns  {'ok', removed 0|1}
--          {'leased', sealed key of the registered SFU}
local now = clock(ARGV[1])
local node = node_read(ARGV[2])

if not node or node.down_at > 0 then
  return { 'ok', 0 }
end
local is_holder = node.fingerprint == ARGV[3] or node.fingerprint == ARGV[4]
if not is_holder and node_health(node, now) ~= 'expired' then
  return { 'leased', node.key }
end
local is_gone = ARGV[5] == '1'
if is_holder and is_gone and loss_is_mass(now) then
  return { 'ok', 0 }
end
local reason = is_holder and (is_gone and 'unreachable' or 'signed-off') or 'expired'
return { 'ok', node_end(node, reason, now) and is_holder and 1 or 0 }
