--- @include "key"
--- @include "log_confirmation"
--- @include "policy"

-- The one rule for "a channel exists": on `c.address` (generation `c.generation`), uuid `c.uuid`, known at `c.at`,
-- made by the attempt `c.name` of request `c.id`.
--
-- The later confirmation wins, as long as the SFU of the earlier one lives; of one request, the attempt that came
-- first. It ends every lock of the placement: a request that is still under way has created nothing. It counts for
-- the tenant, lists the call under its SFU, keeps the uuid for the first living SFU, and its tenant, that has it, and is
-- told to all replicas, unless they know it.
--
-- Returns whether it won, and the owner of the uuid ('' when it is this channel): tenant and address.
local function placement_confirm(placement, c, now)
  local name, call = placement.name, placement.tenant .. ':' .. placement.detail
  local now_ms = string.format('%d', now)
  local moves = placement.address ~= c.address
  if moves and placement.confirmed_at > 0 then
    --- @include "node_living"
    local is_older = c.at < math.min(placement.confirmed_at, now)
    if (is_older or placement.confirmed_by == c.id)
        and node_living(placement.address, tonumber(placement.generation), now) then
      return false, '', ''
    end
  end
  local known_at = math.min(placement.confirmed_at, now)
  if moves or c.at > known_at or c.uuid ~= placement.uuid then
    log_confirmation(placement, c)
  elseif c.at < known_at then
    c.at = known_at
  end
  if placement.lock_owner ~= c.name then
    --- @include "attempt_spill"
    attempt_spill(placement, c.name)
  end
  local at = c.at == now and now_ms or string.format('%d', math.max(1, c.at))
  redis.call('HSET', name, 'uuid', c.uuid, 'confirmed_at', at, 'confirmed_by', c.id,
    'lock_owner', c.name, 'lock_expires_at', '0')
  if moves or placement.generation ~= c.generation or placement.caller ~= c.caller then
    redis.call('HSET', name, 'address', c.address, 'generation', c.generation, 'caller', c.caller)
    redis.call('ZREM', key('calls', placement.address), call)
    redis.call('HDEL', name, 'moving_until', 'kept_in')
  end
  if c.fingerprint ~= '' and c.fingerprint ~= placement.key_fingerprint then
    redis.call('HSET', name, 'key_fingerprint', c.fingerprint)
  end
  if placement.confirmed_at > 0 or placement.lock_expires_at == 0 then -- else its lock has just done so
    redis.call('PEXPIRE', name, policy.affinity_ttl_ms)
  end
  if c.is_limited then
    redis.call('ZADD', key('tenant', placement.tenant), tostring(now + policy.affinity_ttl_ms), placement.detail)
    redis.call('PEXPIRE', key('tenant', placement.tenant), policy.affinity_ttl_ms)
  end
  redis.call('ZADD', key('calls', c.address), now_ms, call)
  local channel = key('channel', c.uuid)
  if placement.uuid == c.uuid and not moves and redis.call('PEXPIRE', channel, policy.affinity_ttl_ms) == 1 then
    return true, '', ''
  end
  local text = placement.tenant .. ' ' .. c.address .. ' ' .. c.caller
  if not redis.call('SET', channel, text, 'PX', policy.affinity_ttl_ms, 'NX') then
    --- @include "node_living"
    local tenant, address = string.match(redis.call('GET', channel), '^(%S+) (%S+)')
    if (tenant ~= placement.tenant or address ~= c.address) and node_living(address, nil, now) then
      return true, tenant, address
    end
    redis.call('SET', channel, text, 'PX', policy.affinity_ttl_ms)
  end
  return true, '', ''
end
