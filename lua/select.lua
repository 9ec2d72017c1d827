--- @include "choose"
--- @include "clock"
--- @include "count_channel"
--- @include "give_back"
--- @include "keeps_sticky"
--- @include "over_limit"
--- @include "pin"
--- @include "read_learned"
--- @include "read_node"
--- @include "read_placement"
--- @include "reserve"
--- @include "save_node"
--- @include "why_none"

-- Places a tenant's issuer on an SFU: sticky, else the lowest effective load of the first region group that
-- has a selectable node (roadmap, phase 2). Picks, reserves and pins in one step. O(log N) in the fleet.
--
-- Guarantees: one holder per issuer at a time; the same request and attempt, sent again, gets the same SFU
-- and reserves once; a holder that died past its time is succeeded, with its reservation.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  policy (JSON)
-- ARGV[3]  request (JSON): id, attempt, tenant, issuer, groups (lists of regions, '*' for all), exclude
--          (addresses tried), hold_ms, random in [0, 1); optionally allow (regions), max_channels
--
-- Returns  {'placed', address, region, sealed key, public_url, reason, held 0|1, uuid of the last channel}
--              reason: 'sticky', 'least-load', 'round-robin' or 'fallback' (not the first group)
--          {'wait', ms until the holder's time is over}
--          {'none'}, {'overloaded'}, {'limit'}
--          {'again'}  stale entries were in the way: ask again
local now = clock(ARGV[1])
local policy = cjson.decode(ARGV[2])
local request = cjson.decode(ARGV[3])

local function answer(node, reason, held, uuid)
  return { 'placed', node.address, node.region, node.key, node.public_url, reason, held, uuid }
end

local placement = read_placement(request.tenant, request.issuer)
  or { address = '', holder = '', uuid = '', attempt = 0, held_until = 0, reserved_at = 0, confirmed_at = 0 }
local is_mine = placement.holder == request.id
if placement.holder ~= '' and not is_mine and placement.held_until > now then
  return { 'wait', placement.held_until - now }
end

local current = placement.address ~= '' and read_node(placement.address, now) or nil
if is_mine and placement.attempt == request.attempt and current then
  return answer(current, 'sticky', 1, placement.uuid)
end

local learned = read_learned(policy)
if keeps_sticky(current, request, now) then
  if placement.holder == '' and now - placement.confirmed_at < policy.confirmed_ms then
    return answer(current, 'sticky', 0, placement.uuid)
  end
  if current.breaker == 'half-open' then
    current.trial_until = now + request.hold_ms
    save_node(current, now, policy, learned)
  end
  pin(placement, request, now, policy)
  count_channel(request, now, policy)
  return answer(current, 'sticky', 1, placement.uuid)
end

if over_limit(request, now) then
  return { 'limit' }
end
local node, detail = choose(request, now, policy, learned)
if not node then
  return { detail and 'again' or why_none(request.groups) }
end

if current and placement.reserved_at > 0 then
  give_back(current, placement.reserved_at, now, learned)
  save_node(current, now, policy, learned)
end
if policy.strategy == 'round-robin' then
  node.turn = redis.call('HINCRBY', key('fleet'), 'turn', 1)
end
if node.breaker == 'half-open' then
  node.trial_until = now + request.hold_ms
end
reserve(node, now, learned)
save_node(node, now, policy, learned)
placement.address, placement.reserved_at = node.address, now
placement.uuid, placement.confirmed_at = '', 0
pin(placement, request, now, policy)
count_channel(request, now, policy)
local reason = detail > 1 and 'fallback' or policy.strategy == 'load' and 'least-load' or 'round-robin'
return answer(node, reason, 1, '')
