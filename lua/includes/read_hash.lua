-- A hash as a table: the fields named in `texts` as strings ('' when missing), those in `numbers` as
-- numbers (0 when missing). Nil when the first text field is missing: no such hash.
local function read_hash(name, texts, numbers)
  local fields = {}
  for _, field in ipairs(texts) do fields[#fields + 1] = field end
  for _, field in ipairs(numbers) do fields[#fields + 1] = field end
  local values = redis.call('HMGET', name, unpack(fields))
  if not values[1] then
    return nil
  end
  local hash = {}
  for i, field in ipairs(fields) do
    if i <= #texts then
      hash[field] = values[i] or ''
    else
      hash[field] = tonumber(values[i] or 0)
    end
  end
  return hash
end
