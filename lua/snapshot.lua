--- @include "clock"
--- @include "eligibility"
--- @include "key"
--- @include "read_learned"
--- @include "read_node"
--- @include "silent_most"

-- A page of the living fleet, with what a replica needs to place channels while Redis is away: some of all
-- known SFUs, in the order of HSCAN, which does not move, and those that transitions since the last page name.
-- Not for a request path. Changes nothing but a mark of its own: a Redis that refuses writes (cut off from its
-- replicas, read-only, full) must not look healthy to a replica that only reads.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  cursor, '0' for the first page of a pass
-- ARGV[3]  about how many SFUs
-- ARGV[4]  id of the newest transition that the caller has taken into account, '' for none
--
-- Returns  {epoch, whether most of the fleet is silent 0|1, sessions per channel, now, next cursor or '0',
--           id of the newest transition that this page takes into account, more transitions to come 0|1,
--           nodes, absent}
--          epoch: when this registry's data began, '' while it is empty; another one means data was lost
--          each node: {address, region, sealed key, public_url, load, sessions, max_sessions, eligibility,
--          generation}; absent: addresses that are down, or keep no calls
local MOST_EVENTS = 100
local now = clock(ARGV[1])
local learned = read_learned()
local nodes, absent, looked_at = {}, {}, {}

redis.call('SET', key('read'), now, 'PX', 60000)

local function look_at(address)
  if looked_at[address] then
    return
  end
  looked_at[address] = true
  local node = read_node(address, now)
  local eligible = node and eligibility(node, now, learned)
  if eligible then
    nodes[#nodes + 1] = {
      address, node.region, node.key, node.public_url, tostring(node.load),
      tostring(node.sessions + node.reserved), tostring(node.max_sessions), eligible, node.generation,
    }
  else
    absent[#absent + 1] = address
  end
end

local newest, more = ARGV[4], 0
if newest == '' then
  local last = redis.call('XREVRANGE', key('events'), '+', '-', 'COUNT', 1)[1]
  newest = last and last[1] or '0-0'
else
  local events = redis.call('XRANGE', key('events'), '(' .. newest, '+', 'COUNT', MOST_EVENTS)
  for _, event in ipairs(events) do
    newest = event[1]
    for i = 1, #event[2], 2 do
      if event[2][i] == 'address' and event[2][i + 1] ~= '' then
        look_at(event[2][i + 1])
      end
    end
  end
  more = #events == MOST_EVENTS and 1 or 0
end

local page = redis.call('HSCAN', key('known'), ARGV[2], 'COUNT', ARGV[3])
for i = 1, #page[2], 2 do
  look_at(page[2][i])
end
local epoch = redis.call('HGET', key('fleet'), 'epoch') or ''
return { epoch, silent_most(now) and 1 or 0, tostring(learned.sessions_per_channel), now, page[1], newest, more,
  nodes, absent }
