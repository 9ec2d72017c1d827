--- @include "key"
--- @include "list_contains"
--- @include "node_silent"

-- Whether an issuer stays with the SFU that it has, by the SFU's health and the request's limits: a full or overloaded
-- SFU keeps its calls, a draining one until it is drained. Returns the verdict and the node with
-- the fields it needs; nil without a node, or when it has another registration than the placement's.
--   'sticky'       it stays
--   'last-resort'  the SFU is ejected, or another request has its half-open permit
--   'no'           the issuer moves
local function placement_keeps(placement, request, now)
  local v = redis.call('HMGET', key('node', placement.address), 'region', 'generation', 'reported_at', 'key',
    'public_url', 'announced')
  if v[2] ~= placement.generation or not v[3] or not v[4] or node_silent(v[3], now) then
    return 'no', nil
  end
  if request.exclude ~= '' and list_contains(request.exclude, ' ', placement.address)
      or request.allow ~= '*' and not list_contains(request.allow, ',', v[1]) then
    return 'no', nil
  end
  if v[6] == 'up' then
    return 'sticky', {
      address = placement.address, region = v[1], generation = v[2], key = v[4], public_url = v[5] or '',
      ejected_reason = '',
    }
  end
  --- @include "node_health"
  --- @include "node_read"
  local node = node_read(placement.address)
  local health = node_health(node, now)
  if health == 'half-open' then
    local is_free = node.permit_until <= now or node.permit == request.id
    return is_free and 'sticky' or 'last-resort', node
  end
  return (not health or health == 'draining') and 'sticky' or health == 'ejected' and 'last-resort' or 'no', node
end
