--- @include "key"

-- Keeps what must outlive a node's hash: for the `down` event, for the list of the lost, and so that a
-- node whose hash has just expired, unswept, goes on with the same life at its next heartbeat.
local function remember(node, down_at, reason)
  redis.call('HSET', key('known'), node.address, cjson.encode({
    region = node.region, generation = node.generation, registered_at = node.registered_at,
    last_seen = node.last_seen, state = node.state, drained = node.drained,
    channels = node.channels, sessions = node.sessions, max_sessions = node.max_sessions,
    down_at = down_at, reason = reason,
  }))
end
