--- @include "policy"

-- Why a selectable node of the region group with this number was chosen.
local function choice_reason(number)
  return number > 1 and 'fallback' or policy.strategy == 'load' and 'least-load' or 'round-robin'
end
