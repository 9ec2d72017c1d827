--- @include "admit"
--- @include "choose"
--- @include "clock"
--- @include "give_back"
--- @include "keeps_sticky"
--- @include "key"
--- @include "over_limit"
--- @include "pin"
--- @include "policy"
--- @include "read_candidate"
--- @include "read_learned"
--- @include "read_node"
--- @include "read_pinned"
--- @include "read_placement"
--- @include "save_node"
--- @include "save_reserved"
--- @include "start_trial"
--- @include "why_none"

-- Places a tenant's issuer on an SFU: sticky, else the lowest effective load of the first region group that
-- has a selectable node (roadmap, phase 2). Picks, reserves and pins in one step. O(log N) in the fleet.
--
-- Guarantees: one holder per issuer at a time; the same request and attempt, sent again, gets the same SFU
-- and reserves once; a holder that died past its time is succeeded, with its reservation.
--
-- KEYS[1]   the namespace's prefix
-- ARGV[1]   now in ms, '' for Redis' clock
-- ARGV[2]   the request's id
-- ARGV[3]   attempt, from 1
-- ARGV[4]   tenant
-- ARGV[5]   issuer
-- ARGV[6]   groups of regions in order of preference: 'eu-west,eu-north|*', '*' for the whole fleet
-- ARGV[7]   addresses tried, separated by spaces
-- ARGV[8]   regions that a sticky placement must be in, separated by commas; '*' for any
-- ARGV[9]   for how many ms the request may hold the placement
-- ARGV[10]  random in [0, 1)
-- ARGV[11]  how many channels the tenant may have, '' for no limit
--
-- Returns  {'placed', address, region, sealed key, public_url, reason, held 0|1, uuid of the last channel}
--              reason: 'sticky', 'least-load', 'round-robin' or 'fallback' (not the first group)
--          {'wait', ms until the holder's time is over}
--          {'none'}, {'overloaded'}, {'limit'}
--          {'again'}  stale entries were in the way: ask again
local now = clock(ARGV[1])
local request = {
  id = ARGV[2], attempt = ARGV[3], tenant = ARGV[4], issuer = ARGV[5], groups = ARGV[6], exclude = ARGV[7],
  allow = ARGV[8], hold_ms = ARGV[9], random = ARGV[10], max_channels = tonumber(ARGV[11]),
}

local function answer(node, reason, held, uuid)
  return { 'placed', node.address, node.region, node.key, node.public_url, reason, held, uuid }
end

local current
local placement = read_placement(request.tenant, request.issuer)
if placement then
  local is_mine = placement.holder == request.id
  if placement.holder ~= '' and not is_mine and placement.held_until > now then
    return { 'wait', placement.held_until - now }
  end
  current = placement.address ~= '' and read_pinned(placement.address, now) or nil
  if is_mine and placement.attempt == tonumber(request.attempt) and current then
    return answer(current, 'sticky', 1, placement.uuid)
  end
  if keeps_sticky(current, request, now) then
    if placement.holder == '' and now - placement.confirmed_at < policy.confirmed_ms then
      return answer(current, 'sticky', 0, placement.uuid)
    end
    if current.breaker == 'half-open' then
      start_trial(current, now + request.hold_ms)
      save_reserved(read_candidate(current.address, now), now, read_learned())
    end
    pin(current.address, placement.reserved_at, request, now)
    return answer(current, 'sticky', 1, placement.uuid)
  end
end

if over_limit(request, now) then
  return { 'limit' }
end
local learned = read_learned()
local node, detail = choose(request, now, learned)
if not node then
  return { detail and 'again' or why_none(request.groups) }
end

if current and placement.reserved_at > 0 then
  local former = read_node(current.address, now)
  give_back(former, placement.reserved_at, now, learned)
  save_node(former, now, learned)
end
admit(node, request, now, learned)
if placement then
  redis.call('HDEL', key('placement', request.tenant, request.issuer), 'uuid', 'confirmed_at')
end
pin(node.address, now, request, now)
local reason = detail > 1 and 'fallback' or policy.strategy == 'load' and 'least-load' or 'round-robin'
return answer(node, reason, 1, '')
