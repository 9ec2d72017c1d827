--- @include "policy"

-- For how many ms an attempt must wait for the lock of a placement; nil when it need not. 0 tells a repeated call of a
-- request that has gone on since. A lock that would last longer than any may is of a clock that has stepped back since.
local function placement_blocks(placement, request, now)
  local owner, number = string.match(placement.lock_owner, '^(.*):(%d+)$')
  if owner == request.id then
    local is_past = placement.lock_expires_at == 0 or tonumber(number) > tonumber(request.attempt)
    return is_past and 0 or nil
  end
  local left = placement.lock_expires_at - now
  return left > 0 and left <= policy.max_lock_ms and left or nil
end
