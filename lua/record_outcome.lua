--- @include "attempt_take"
--- @include "clock"
--- @include "key"
--- @include "placement_confirm"
--- @include "placement_read"
--- @include "policy"

-- Records how forwarding one attempt of a channel request to an SFU ended.
-- Guarantees: an attempt counts once; a created channel is confirmed, also without the request's lock; any other
-- result returns the attempt's reservation and unpins no confirmed placement; failures count against the SFU for all
-- replicas, a success clears them; a half-open permit ends with its owner's outcome.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  the request's id        ARGV[3]  attempt          ARGV[4]  tenant        ARGV[5]  issuer
-- ARGV[6]  fingerprint of the channel's key, ''              ARGV[7]  address
-- ARGV[8]  generation of the SFU, 0 for unknown
-- ARGV[9]  result: 'created', 'failed', 'misconfigured' (the SFU refuses its own key) or 'unblamed'
-- ARGV[10] whether the request is over: 0|1   ARGV[11] uuid      ARGV[12] what went wrong, a short text, ''
-- ARGV[13] the caller's address    ARGV[14] whether the tenant has a limit, 0|1
-- ARGV[15] random in [0, 1)
--
-- Returns  {'ok', whether the channel is the issuer's 0|1, tenant and address of the owner of its uuid, '', ''}
--          {'repeated', 0, '', ''}  it was counted before; at most the lock ends
local now = clock(ARGV[1])
local id, name, address, generation, result = ARGV[2], ARGV[2] .. ':' .. ARGV[3], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local is_final = ARGV[10] == '1'
local placement = placement_read(ARGV[4], ARGV[5], ARGV[6])
local reserved, attempt_result = attempt_take(placement, name)

local function registered()
  --- @include "node_read"
  local node = node_read(address)
  return node and node.down_at == 0 and (generation == 0 or node.generation == generation) and node or nil
end

if is_final or result == 'created' or placement.lock_owner ~= name then -- else the sweeper watches the lock
  redis.call('ZREM', key('attempts'), name .. ' ' .. placement.tenant .. ':' .. placement.detail)
end

if result == 'created' then
  local v = redis.call('HMGET', key('node', address), 'failures', 'ejected_reason', 'errors', 'generation')
  local won, tenant, holder = placement_confirm(placement, { id = id, name = name, address = address, uuid = ARGV[11],
    at = now, generation = generation > 0 and ARGV[8] or v[4] or '0', fingerprint = ARGV[6],
    caller = placement.caller ~= '' and placement.caller or ARGV[13], is_limited = ARGV[14] == '1' }, now)
  local is_well = (v[1] or '0') == '0' and (v[2] or '') == '' and (v[3] or '0') == '0'
  local node = not (is_well and won and not attempt_result) and registered()
  if node then
    --- @include "attempt_parse"
    --- @include "attempt_return"
    --- @include "ejection_clear"
    --- @include "learned_read"
    --- @include "node_save"
    --- @include "node_set"
    --- @include "reservation_add"
    local attempt = attempt_parse(reserved)
    if not won then
      attempt_return(node, attempt, now)
    elseif attempt_result == 'expired' then
      reservation_add(node, now)
    end
    local is_half_open = node.ejected_until <= now and (node.permit == id or node.permit_until <= now)
    if node.ejected_reason == '' or is_half_open or attempt.role == 'last-resort' then
      ejection_clear(node, now, 'success')
    end
    node_set(node, 'errors', 0)
    node_save(node, now, learned_read(now))
  end
  return { 'ok', won and 1 or 0, tenant, holder }
end

--- @include "attempt_parse"
local attempt = attempt_parse(reserved)
local former = attempt_result or attempt.result -- known, although a late call locked anew
if former == '' then
  former = redis.call('GET', key('attempt', name))
end
local is_counted = former and former ~= 'expired'
redis.call('SET', key('attempt', name), is_counted and former or result, 'PX', policy.attempt_ttl_ms)
local is_open = placement.lock_expires_at > 0
if placement.exists and string.match(placement.lock_owner, '^(.*):') == id then
  --- @include "placement_unlock"
  if is_final and is_open or placement.confirmed_at == 0 and not is_open then
    placement_unlock(placement, name)
  elseif placement.lock_owner == name then
    redis.call('HSET', placement.name, 'attempt', '')
    if placement.confirmed_at == 0 then
      redis.call('HSET', placement.name, 'address', '')
    end
  end
end
local node = registered()
if node then
  --- @include "attempt_return"
  --- @include "learned_read"
  --- @include "node_blame"
  --- @include "node_save"
  attempt_return(node, attempt, now)
  if not is_counted then
    node_blame(node, id, result, ARGV[12], now, tonumber(ARGV[15]))
  end
  node_save(node, now, learned_read(now))
end
return { is_counted and 'repeated' or 'ok', 0, '', '' }
