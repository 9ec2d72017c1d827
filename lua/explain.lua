--- @include "clock"
--- @include "learned_read"
--- @include "placement_keeps"
--- @include "placement_moves"
--- @include "placement_read"
--- @include "select_node"

-- Returns the decision of select for a request, made by the same functions, and changes only stale index entries.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  tenant
-- ARGV[3]  issuer
-- ARGV[4..8]  as ARGV[6..8], [10] and [13] of select: groups, addresses tried, regions allowed, random, fingerprint
--
-- Returns  {address of the winner or '', reason, number of its region group, its score,
--           address of the placement or '', whether the issuer keeps it: 'sticky', 'last-resort' or 'no'}
local now = clock(ARGV[1])
local request = { id = '', groups = ARGV[4], exclude = ARGV[5], allow = ARGV[6], random = ARGV[7] }
local placement = placement_read(ARGV[2], ARGV[3], ARGV[8])

local kept, node = 'no', nil
if placement.address ~= '' then
  kept, node = placement_keeps(placement, request, now)
end
local learned = learned_read(now)
if kept == 'sticky' then
  local other, number, why = placement_moves(placement, request, now, learned)
  if other then
    return { other.address, why, number, other.score or '', placement.address, 'no' }
  end
  return { node.address, 'sticky', 0, '', placement.address, kept }
end
local chosen, number, reason = select_node(request, kept == 'last-resort' and node, now, learned)
return { chosen and chosen.address or '', reason, chosen and number or 0, chosen and chosen.score or '',
  placement.address, kept }
