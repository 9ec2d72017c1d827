--- @include "key"
--- @include "node_capacity"
--- @include "node_set"

-- Writes an event when a node's state has changed since the last event about it. `announced` is the state in that
-- event ('half-open' after an 'up' for a half-open node): it is 'up' for nodes in plain service only. An SFU that was
-- announced as overloaded stays so until it reports figures well below the limits, so reservations at the edge make
-- one event. `overloaded` is written only when its region has no selectable SFU left. A node that is back in service
-- is `up` first, however loaded.
local function node_announce(node, state, why, now, learned)
  local label = state
  if state == 'selectable' then
    label = 'up'
    if node.announced == 'overloaded' and (not node.is_reporting or node_capacity(node, learned, 0.95)) then
      return
    end
  elseif state == 'full' or state == 'overloaded' then
    label = 'overloaded'
  elseif state == 'ejected' then
    label = why == 'misconfigured' and why or 'down'
  end
  local before = node.announced
  if label == before then
    return
  end
  --- @include "event_emit"
  node_set(node, 'announced', label)
  if label == 'up' or label == 'half-open' or label == 'overloaded' then
    if before ~= 'overloaded' and before ~= 'up' and before ~= 'half-open' then
      event_emit(now, 'up', node, (before == 'draining' or before == 'drained') and 'resumed' or 'recovered', state)
    end
    if label == 'overloaded' and redis.call('ZCARD', key('load', node.region)) == 0 then
      event_emit(now, label, node, why, state)
    end
    return
  end
  if label == 'drained' then
    why = node.emptied_at > 0 and 'empty' or 'deadline'
  end
  event_emit(now, label, node, why, state)
end
