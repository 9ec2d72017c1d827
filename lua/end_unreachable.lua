--- @include "clock"
--- @include "loss_is_mass"
--- @include "node_end"
--- @include "node_health"
--- @include "node_read"

-- Ends the registration of an SFU that no longer answers, before its health deadline.
--
-- Guarantees: only the registration that was probed, and only when it has not reported since the probes began to fail;
-- never while most of the fleet seems to be gone.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  address
-- ARGV[3]  generation, and ARGV[4] when it reported last in ms, as find_suspects said
--
-- Returns  'ended', 'alive' (it has reported, or has gone already), or 'mass'
local now = clock(ARGV[1])
local node = node_read(ARGV[2])

if not node or node_health(node, now) == 'down' or node.generation ~= tonumber(ARGV[3])
    or node.reported_at ~= tonumber(ARGV[4]) then
  return 'alive'
end
if loss_is_mass(now) then
  return 'mass'
end
node_end(node, 'unreachable', now)
return 'ended'
