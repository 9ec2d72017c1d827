--- @include "become"
--- @include "emit"
--- @include "key"
--- @include "readmit"

-- The state a node has after a heartbeat. A report ends a mark-down; a wrong key stays wrong until its
-- breaker lets a request try again; a report without fresh figures (`fresh` false: somebody keeps a silent
-- static SFU registered) ends nothing. Says so with an event when the state changes, and once when a
-- draining node has become empty.
local function settle_state(node, report, now)
  local intent = redis.call('HGET', key('draining'), node.address)
  node.drain_until = tonumber(intent or 0)
  if node.breaker == 'open' then -- perhaps since a former life, or in another region
    redis.call('SADD', key('ejected', node.region), node.address)
    redis.call('ZADD', key('probes'), 'NX', now, node.address)
  end
  local before = node.state
  if before == 'misconfigured' and node.breaker == 'open' or before == 'failed' and not report.fresh then
    return
  end
  if node.breaker ~= 'open' then
    readmit(node)
  end
  local state = (intent or report.draining) and 'draining' or 'up'
  if state ~= before then
    local reason = state == 'draining' and (intent and 'operator' or 'sfu')
      or before == 'draining' and 'resumed' or 'recovered'
    become(node, state, state, reason, now)
  end
  if node.state ~= 'draining' then
    node.drained = 0
  elseif node.drained == 0 and report.fresh and node.sessions == 0 and node.base < 0.1 then
    node.drained = 1
    emit(now, 'drained', node.address, node.region, 'empty', node.generation)
  end
end
