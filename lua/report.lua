--- @include "blame"
--- @include "clock"
--- @include "close_breaker"
--- @include "give_back"
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
-- ARGV[2]  policy (JSON)
-- ARGV[3]  report (JSON): id, tenant, issuer, address, outcome, final (no further attempt follows), uuid,
--          random in [0, 1)
--          outcome: 'created', 'failed', 'misconfigured' (the SFU refuses its own key) or 'unblamed' (the
--          request was at fault, or it was never sent)
--
-- Returns  {'ok', the node's state, the breaker's state}
--          {'ok', 'gone', ''}  the node is no longer registered
local now = clock(ARGV[1])
local policy = cjson.decode(ARGV[2])
local report = cjson.decode(ARGV[3])
local learned = read_learned(policy)

local node = read_node(report.address, now)
local placement = read_placement(report.tenant, report.issuer)
local holds = placement and placement.holder == report.id

if report.outcome == 'created' then
  local channel = key('channel', report.uuid)
  redis.call('SET', channel, report.address, 'PX', policy.affinity_ttl_ms)
  if holds then
    placement.uuid, placement.confirmed_at = report.uuid, now
    release(report.tenant, report.issuer, placement)
    redis.call('PEXPIRE', key('placement', report.tenant, report.issuer), policy.affinity_ttl_ms)
  end
  local failures = redis.call('HGET', key('breaker', report.address), 'failures')
  if node and (node.breaker == 'half-open' or node.breaker == 'closed' and tonumber(failures or 0) > 0) then
    close_breaker(node, now, policy)
    save_node(node, now, policy, learned)
  end
else
  local is_free = placement and placement.holder == ''
  if (holds or is_free) and placement.address == report.address
      and (report.outcome ~= 'unblamed' or placement.reserved_at > 0) then
    if node and placement.reserved_at > 0 then
      give_back(node, placement.reserved_at, now, learned)
    end
    placement.address, placement.reserved_at, placement.uuid = '', 0, ''
    local name = key('placement', report.tenant, report.issuer)
    redis.call('HSET', name, 'address', '', 'reserved_at', 0, 'uuid', '')
  end
  if node then
    node.trial_until = 0
    if report.outcome ~= 'unblamed' then
      blame(node, report.outcome, now, policy, report.random)
    end
    save_node(node, now, policy, learned)
  end
  if holds and report.final or is_free and placement.address == '' then
    release(report.tenant, report.issuer, placement)
  end
end
return { 'ok', node and node.state or 'gone', node and node.breaker or '' }
