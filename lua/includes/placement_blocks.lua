--- @include "policy"

-- For how many ms an attempt must wait for the lock of a placement; nil when it need not. 0: a repeated call of a
-- request that has made a later attempt. A lock with more time left than any lock gets dates from before a clock step.
local function placement_blocks(placement, request, now)
  local owner = placement.lock_owner
  if owner == '' then
    return nil
  end
  if string.find(owner, request.id .. ':', 1, true) == 1 then
    local number = tonumber(string.sub(owner, #request.id + 2))
    return (placement.lock_expires_at == 0 or number > tonumber(request.attempt)) and 0 or nil
  end
  local left = placement.lock_expires_at - now
  return left > 0 and left <= policy.max_lock_ms and left or nil
end
