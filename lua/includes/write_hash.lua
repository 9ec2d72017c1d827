-- Writes the named fields of a table to a hash. It never creates a hash without a life of its own: the
-- caller has read the hash in the same script, or sets its TTL. Numbers are written with 14 digits: people
-- read them with redis-cli.
local function write_hash(name, hash, ...)
  local pairs_to_set = {}
  for _, field in ipairs({ ... }) do
    pairs_to_set[#pairs_to_set + 1] = field
    pairs_to_set[#pairs_to_set + 1] = tostring(hash[field])
  end
  redis.call('HSET', name, unpack(pairs_to_set))
end
