--- @include "key"

-- What is remembered of an address, as a table, or nil.
local function recall(address)
  local text = redis.call('HGET', key('known'), address)
  if not text then
    return nil
  end
  local known = cjson.decode(text)
  known.address = address
  return known
end
