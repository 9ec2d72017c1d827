--- @include "standing"

-- What a replica that places without Redis may do with a living node: 'selectable'; 'sticky-only', it keeps its
-- calls and takes no others; 'last-resort', it failed; nil, it keeps no calls either.
local function eligibility(node, now, learned)
  local stands = standing(node, now, learned)
  if stands == 'selectable' then
    return 'selectable'
  end
  if stands == 'failed' or stands == 'misconfigured' or stands == 'breaker-open' then
    return 'last-resort'
  end
  if stands == 'draining' and node.drain_until > 0 and now >= node.drain_until then
    return nil
  end
  return 'sticky-only'
end
