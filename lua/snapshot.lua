--- @include "clock"
--- @include "epoch_read"
--- @include "key"
--- @include "learned_read"
--- @include "node_read"
--- @include "node_state"
--- @include "policy"
--- @include "silent_most"

-- A page of the fleet that may take channels, by address, with what a replica needs to place channels while Redis is
-- away. Not for a request path. Changes nothing but a mark of its own: a Redis that refuses writes (cut off
-- from its replicas, read-only, full) must not look healthy to those who only read.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  the address after which the page begins, '' for the first page
-- ARGV[3]  how many SFUs to look at, at most
--
-- Returns  {epoch, when this registry's data began, whether most of the fleet is silent 0|1, sessions per channel by
--           the setting, nodes, the address after which the next page begins or ''}
--          epoch: moves with members and generations; another beginning means that data was lost; both '' while it is
--          empty
--          each node: {address, region, sealed key, public_url, load, sessions, max_sessions, generation, state}
local now = clock(ARGV[1])

redis.call('SET', key('read'), tostring(now), 'PX', 60000)

local after = ARGV[2] == '' and '-' or '(' .. ARGV[2]
local page = redis.call('ZRANGEBYLEX', key('sfus'), after, '+', 'LIMIT', 0, ARGV[3])
local learned = learned_read(now)
local nodes = {}
for _, address in ipairs(page) do
  local node = node_read(address)
  local state, _, tier = 'down', nil, nil
  if node then
    state, _, tier = node_state(node, now, learned)
  end
  if tier then
    nodes[#nodes + 1] = {
      address, node.region, node.key, node.public_url, tostring(node.load), tostring(node.sessions + node.reserved),
      tostring(node.max_sessions), tostring(node.generation), state,
    }
  end
end
local epoch, began_at = epoch_read()
local next_page = #page == tonumber(ARGV[3]) and page[#page] or ''
return { epoch, began_at, silent_most(now) and 1 or 0, tostring(policy.sessions_per_channel), nodes, next_page }
