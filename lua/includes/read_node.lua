--- @include "key"
--- @include "read_hash"

local NODE_FIELDS = {
  'region', 'state', 'breaker', 'listed', 'key', 'fingerprint', 'public_url',
  'channels', 'sessions', 'max_sessions', 'cpu', 'memory', 'load', 'reserved', 'recent', 'base',
  'joining', 'joining_at', 'turn', 'trial_until', 'drain_until', 'drained', 'registered_at',
  'since', 'last_seen', 'deadline', 'paced_until', 'generation',
}

-- A node that is alive at `now`, or nil. `deadline` repeats the hash's TTL as a field, so that a script
-- given its own `now` judges health by that clock. `since` is when the hash was made, reservations with it.
local function read_node(address, now)
  local node = read_hash(key('node', address), 7, NODE_FIELDS)
  if node == nil or node.deadline <= now then
    return nil
  end
  node.address = address
  return node
end
