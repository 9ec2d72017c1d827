--- @include "key"

-- Why no group has a selectable node: 'overloaded' when one of them has a node that is out by load alone,
-- else 'none'.
local function why_none(groups)
  for _, group in ipairs(groups) do
    for _, region in ipairs(group) do
      local name = region == '*' and key('overloaded') or key('overloaded', region)
      if redis.call('SCARD', name) > 0 then
        return 'overloaded'
      end
    end
  end
  return 'none'
end
