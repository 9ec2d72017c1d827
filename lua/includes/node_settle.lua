--- @include "key"
--- @include "node_set"
--- @include "policy"

-- The work of a heartbeat beside its figures. Forgets calls of the node whose placement has run out, and the oldest
-- beyond policy.calls_kept. Notes whether a draining node is empty: no sessions, no reserved ones, no channel
-- confirmed lately. Once empty it stays drained until the drain ends.
local function node_settle(node, is_fresh, now)
  local calls = key('calls', node.address)
  if redis.call('PEXPIRE', calls, policy.affinity_ttl_ms) == 1 then
    redis.call('ZREMRANGEBYSCORE', calls, '-inf', tostring(now - policy.affinity_ttl_ms))
    redis.call('ZREMRANGEBYRANK', calls, 0, -1 - policy.calls_kept)
  end
  if not node.operator_drain and not node.self_draining then
    node_set(node, 'emptied_at', 0)
  elseif node.emptied_at == 0 and is_fresh and node.sessions == 0 and node.base < 0.1 then
    local newest = tonumber(redis.call('ZREVRANGE', calls, 0, 0, 'WITHSCORES')[2] or 0)
    if newest < node.registered_at or newest + 2 * policy.join_ms <= now then
      node_set(node, 'emptied_at', now)
    end
  end
end
