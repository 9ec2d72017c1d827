--- @include "node_silent"

-- Why a node is out of service apart from its load, or nil: the first part of its derived state.
local function node_health(node, now)
  if node.down_at > 0 then
    return 'down'
  end
  if node_silent(node.reported_at, now) then
    return 'expired'
  end
  local deadline = node.operator_drain
  if deadline or node.self_draining then
    if node.emptied_at > 0 or deadline and deadline > 0 and deadline <= now then
      return 'drained'
    end
    return 'draining'
  end
  if node.ejected_reason ~= '' then
    return node.ejected_until > now and 'ejected' or 'half-open'
  end
  return nil
end
