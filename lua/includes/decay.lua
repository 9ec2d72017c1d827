--- @include "policy"

-- What is left at `now` of `amount` channels' joining people, counted at `since`: e^(-dt/J) of them are
-- still to come (J = policy.join_ms).
local function decay(amount, since, now)
  if amount == 0 then
    return 0
  end
  return amount * math.exp(-math.max(0, now - since) / policy.join_ms)
end
