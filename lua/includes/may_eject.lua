--- @include "key"
--- @include "policy"

-- Whether one more node of a region may be taken out by failures alone: never more than
-- `max_ejected_percent` of its living members, rounded down, so the last SFU stays in.
local function may_eject(node)
  if redis.call('SISMEMBER', key('ejected', node.region), node.address) == 1 then
    return true
  end
  local members = redis.call('SCARD', key('members', node.region))
  local ejected = redis.call('SCARD', key('ejected', node.region))
  return ejected + 1 <= math.floor(members * policy.max_ejected_percent / 100)
end
