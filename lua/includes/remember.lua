--- @include "key"

local LIFE = '{"region":"%s","generation":%d,"registered_at":%d,"last_seen":%d,"state":"%s","drained":%d,'
  .. '"channels":%d,"sessions":%d,"max_sessions":%d}'

-- Keeps what must outlive a living node's hash: for the `down` event, for the list of the lost, and so that a
-- node whose hash has just expired, unswept, goes on with the same life at its next heartbeat. JSON by hand,
-- because each heartbeat comes by: a region's name and a state need no escapes.
local function remember(node)
  redis.call('HSET', key('known'), node.address, string.format(LIFE, node.region, node.generation,
    node.registered_at, node.last_seen, node.state, node.drained, node.channels, node.sessions,
    node.max_sessions))
end
