--- @include "node_capacity"

-- The derived state of a node, its reason, and the tier of indexes that it belongs to. Everything else (indexes,
-- events, health, explain, snapshot) follows this verdict.
--   signed-off, lost, expired, draining, drained   no tier
--   full, overloaded                   tier 'overloaded'
--   ejected, half-open without a free permit  tier 'ejected': the last resort
--   half-open, selectable              tier 'load'
-- A node that is_partial is in service: node_candidate says so.
local function node_state(node, now, learned)
  local capacity, figure = node_capacity(node, learned, 1)
  local health
  if not node.is_partial then
    --- @include "node_health"
    health = node_health(node, now)
  end
  if not health then
    if capacity then
      return capacity, figure, 'overloaded'
    end
    return 'selectable', '', 'load'
  end
  if health == 'ejected' or health == 'half-open' then
    if capacity then
      return health, node.ejected_reason, 'overloaded'
    end
    local is_out = health == 'ejected' or node.permit_until > now
    return health, node.ejected_reason, is_out and 'ejected' or 'load'
  end
  if health == 'draining' or health == 'drained' then
    return health, node.operator_drain and 'operator' or 'sfu', nil
  end
  if health == 'down' then
    if node.down_reason == 'signed-off' then
      return 'signed-off', '', nil
    end
    return 'lost', node.down_reason, nil
  end
  return health, '', nil
end
