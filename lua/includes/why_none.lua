--- @include "key"

-- Why no region of `groups` has a selectable node: 'overloaded' when one of them has a node that is out by
-- load alone, else 'none'.
local function why_none(groups)
  for region in string.gmatch(groups, '[^|,]+') do
    local name = region == '*' and key('overloaded') or key('overloaded', region)
    if redis.call('SCARD', name) > 0 then
      return 'overloaded'
    end
  end
  return 'none'
end
