--- @include "clock"
--- @include "key"
--- @include "read_learned"
--- @include "read_node"
--- @include "silent_most"

-- A page of the selectable fleet, best first, with what a replica needs to place channels while Redis is
-- away. Not for a request path. Changes nothing but a mark of its own: a Redis that refuses writes (cut off
-- from its replicas, read-only, full) must not look healthy to those who only read.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  rank of the page's first node
-- ARGV[3]  how many at most
--
-- Returns  {epoch, whether most of the fleet is silent 0|1, sessions per channel, nodes, more to come 0|1}
--          epoch: when this registry's data began, '' while it is empty; another one means data was lost
--          each node: {address, region, sealed key, public_url, load, sessions, max_sessions}
local now = clock(ARGV[1])
local first = tonumber(ARGV[2])

redis.call('SET', key('read'), now, 'PX', 60000)

local nodes = {}
local page = redis.call('ZRANGE', key('load'), first, first + ARGV[3] - 1)
for _, address in ipairs(page) do
  local node = read_node(address, now)
  if node then
    nodes[#nodes + 1] = {
      address, node.region, node.key, node.public_url, tostring(node.load),
      tostring(node.sessions + node.reserved), tostring(node.max_sessions),
    }
  end
end
local epoch = redis.call('HGET', key('fleet'), 'epoch') or ''
local per_channel = read_learned().sessions_per_channel
local more = #page == tonumber(ARGV[3]) -- of these, some may have expired
return { epoch, silent_most(now) and 1 or 0, tostring(per_channel), nodes, more and 1 or 0 }
