--- @include "reservation_return"

-- Takes back what an attempt has reserved, unless the node has registered anew since.
local function attempt_return(node, attempt, now)
  if attempt.reserved_at > 0 and attempt.generation == node.generation then
    reservation_return(node, attempt.reserved_at, now)
  end
end
