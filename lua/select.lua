--- @include "clock"
--- @include "learned_read"
--- @include "node_assign"
--- @include "node_silent"
--- @include "placement_lock"
--- @include "placement_read"
--- @include "policy"

-- Places a tenant's issuer on an SFU for one attempt of a request: sticky, else the lowest effective load of the first
-- region group that has a selectable node (roadmap, phase 2), else an ejected one. Picks, reserves and locks in one
-- step. O(log N) in the fleet.
--
-- Guarantees: one lock per issuer at a time; the same attempt, sent again, gets the same SFU and reserves once; each
-- attempt's reservation is its own, also while an earlier attempt of the request is under way.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  the request's id        ARGV[3]  attempt, from 1        ARGV[4]  tenant        ARGV[5]  issuer
-- ARGV[6]  groups of regions in order of preference: 'eu-west,eu-north|*', '*' for the whole fleet
-- ARGV[7]  addresses tried, separated by spaces
-- ARGV[8]  regions that a sticky placement must be in, separated by commas; '*' for any
-- ARGV[9]  for how many ms it may lock the placement      ARGV[10] random in [0, 1)
-- ARGV[11] how many issuers the tenant may have placed, '' for no limit
-- ARGV[12] the caller's address, as the SFU is to see it
-- ARGV[13] fingerprint of the channel's key, '' for unknown
-- ARGV[14] address that the replica would choose without Redis, '' while Redis answers well: a new channel goes there
--          if the node is selectable in one of the groups, as a replica that gives Redis up meanwhile chooses it too
--
-- Returns  {'placed', address, region, sealed key, public_url, reason, locked 0|1, uuid of the last channel,
--           generation, caller's address of the placement, whether another channel key has the issuer's own name 0|1}
--              reason: 'sticky', 'least-load', 'round-robin', 'fallback' (not the first group) or 'last-resort'
--          {'wait', ms until the lock is over, address that the lock's owner asks or ''}
--          {'none', epoch}, {'overloaded', epoch}, {'limit'}
--          {'again'}  stale entries were in the way: ask again
local now = clock(ARGV[1])
local request = {
  id = ARGV[2], attempt = ARGV[3], name = ARGV[2] .. ':' .. ARGV[3], groups = ARGV[6], exclude = ARGV[7],
  allow = ARGV[8], lock_ms = ARGV[9], random = ARGV[10], max_placements = tonumber(ARGV[11]), caller = ARGV[12],
  fingerprint = ARGV[13], preferred = ARGV[14],
}
local placement = placement_read(ARGV[4], ARGV[5], request.fingerprint)
if placement.caller ~= '' then
  request.caller = placement.caller
end

local function answer(node, reason, locked)
  local uuid = node.address == placement.address and placement.uuid or ''
  return { 'placed', node.address, node.region, node.key, node.public_url, reason, locked, uuid, node.generation,
    request.caller, placement.detail ~= placement.issuer and 1 or 0 }
end

local kept, node, reason, learned = 'no', nil, 'sticky', nil
if placement.exists then
  --- @include "placement_blocks"
  --- @include "placement_keeps"
  local wait = placement_blocks(placement, request, now)
  if wait then
    return { 'wait', wait, string.match(placement.attempt, '(%S*)$') }
  end
  if placement.lock_owner == request.name and placement.attempt ~= '' then
    --- @include "node_read"
    local placed = node_read(string.match(placement.attempt, '(%S+)$'))
    if placed and placed.down_at == 0 and not node_silent(placed.reported_at, now) then
      return answer(placed, 'sticky', 1)
    end
  end
  if placement.address ~= '' then
    kept, node = placement_keeps(placement, request, now)
  end
  if kept == 'sticky' and placement.moving_until > now then
    --- @include "placement_moves"
    learned = learned_read(now)
    local other, _, why = placement_moves(placement, request, now, learned)
    kept, node, reason = other and 'moving' or kept, other or node, why or reason
  end
end
local reserves = kept ~= 'sticky' or placement.confirmed_at == 0
if reserves and request.max_placements and kept ~= 'moving' then
  --- @include "tenant_over_limit"
  if tenant_over_limit(placement, request, now) then
    return { 'limit' }
  end
end
if kept == 'sticky' then
  local is_fresh = not reserves and now - placement.confirmed_at < policy.confirmed_ms
  if is_fresh and placement.lock_expires_at == 0 then
    return answer(node, reason, 0)
  end
elseif kept ~= 'moving' then
  local again, returns_at
  learned, returns_at = learned_read(now)
  if returns_at and returns_at <= now then
    --- @include "returning_take"
    returning_take(4, now, learned)
  end
  local preferred, why
  if kept == 'no' and request.preferred ~= '' then
    --- @include "node_preferred"
    preferred, why = node_preferred(request, now, learned)
  end
  if preferred then
    node, reason = preferred, why
  else
    --- @include "select_node"
    node, again, reason = select_node(request, kept == 'last-resort' and node, now, learned)
  end
  if not node then
    --- @include "epoch_read"
    return again and { 'again' } or { reason, (epoch_read()) }
  end
end

local role = reason == 'last-resort' and reason or '-'
local record = string.format('%d', reserves and now or 0) .. ' ' .. node.generation .. ' ' .. role .. ' '
  .. node.address
placement_lock(placement, node, request, record, now)
if reserves or node.ejected_reason ~= '' then
  node_assign(node, request, reserves, now, learned or (learned_read(now)))
end
return answer(node, reason, 1)
