-- A hash as a table: the first `texts` of the named fields as strings ('' when missing), the others as numbers
-- (0 when missing). Nil when the first field is missing: no such hash. `stored` repeats what was read, so that
-- changed fields can be told from others.
local function read_hash(name, texts, fields)
  local values = redis.call('HMGET', name, unpack(fields))
  if not values[1] then
    return nil
  end
  local hash, stored = {}, {}
  for i = 1, #fields do
    local value = values[i]
    if i <= texts then
      value = value or ''
    else
      value = tonumber(value or 0)
    end
    hash[fields[i]], stored[fields[i]] = value, value
  end
  hash.stored = stored
  return hash
end
