--- @include "blame"
--- @include "clock"
--- @include "close_breaker"
--- @include "give_back"
--- @include "key"
--- @include "log_confirmation"
--- @include "policy"
--- @include "read_learned"
--- @include "read_node"
--- @include "read_placement"
--- @include "release"
--- @include "save_node"

-- Reports how forwarding a channel request to an SFU ended.
--
-- Guarantees: a failed forward gives its reservation back, once; while a request holds a placement, no other
-- changes it; a request's own fault does not cost its issuer a confirmed placement; failures count against
-- the node for all replicas, a success clears them.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  the request's id
-- ARGV[3]  tenant
-- ARGV[4]  issuer
-- ARGV[5]  address
-- ARGV[6]  outcome: 'created', 'failed', 'misconfigured' (the SFU refuses its own key) or 'unblamed' (the
--          request was at fault, or it was never sent)
-- ARGV[7]  whether no further attempt follows, 0|1
-- ARGV[8]  uuid of the channel, '' for none
-- ARGV[9]  random in [0, 1)
--
-- Returns  {'ok', the node's state, the breaker's state}
--          {'ok', 'gone', ''}  the node is no longer registered
local now = clock(ARGV[1])
local id, tenant, issuer, address, outcome, uuid = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[8]

local function created()
  redis.call('SET', key('channel', uuid), address, 'PX', policy.affinity_ttl_ms)
  local name = key('placement', tenant, issuer)
  local pinned = redis.call('HMGET', name, 'address', 'holder')
  if pinned[2] == id then
    release(tenant, issuer, { address = pinned[1], uuid = uuid, confirmed_at = now })
    redis.call('PEXPIRE', name, policy.affinity_ttl_ms)
    log_confirmation(tenant, issuer, address, uuid, string.format('%d', now))
  end
  local shown = redis.call('HMGET', key('node', address), 'state', 'breaker', 'deadline')
  if not shown[1] or tonumber(shown[3]) <= now then
    return { 'ok', 'gone', '' }
  end
  local failures = shown[2] == 'closed' and redis.call('HGET', key('breaker', address), 'failures')
  if shown[2] == 'half-open' or tonumber(failures or 0) > 0 then
    local node = read_node(address, now)
    close_breaker(node, now)
    save_node(node, now, read_learned())
  end
  return { 'ok', shown[1], shown[2] == 'open' and 'open' or 'closed' }
end

local function failed()
  local learned, node = read_learned(), read_node(address, now)
  local placement = read_placement(tenant, issuer)
  local holds, is_free = placement and placement.holder == id, placement and placement.holder == ''
  if (holds or is_free) and placement.address == address
      and (outcome ~= 'unblamed' or placement.reserved_at > 0) then
    if node and placement.reserved_at > 0 then
      give_back(node, placement.reserved_at, now, learned)
    end
    placement.address, placement.reserved_at, placement.uuid = '', 0, ''
    redis.call('HSET', key('placement', tenant, issuer), 'address', '', 'reserved_at', 0, 'uuid', '')
  end
  if node then
    node.trial_until = 0
    if outcome ~= 'unblamed' then
      blame(node, outcome, now, ARGV[9])
    end
    save_node(node, now, learned)
  end
  if holds and ARGV[7] == '1' or is_free and placement.address == '' then
    release(tenant, issuer, placement)
  end
  return { 'ok', node and node.state or 'gone', node and node.breaker or '' }
end

return outcome == 'created' and created() or failed()
