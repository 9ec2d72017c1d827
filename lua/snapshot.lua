--- @include "clock"
--- @include "eligibility"
--- @include "epoch_read"
--- @include "key"
--- @include "learned_read"
--- @include "node_health"
--- @include "node_read"
--- @include "policy"
--- @include "silence_clock"
--- @include "silent_most"

-- A page of the living fleet, with what a replica needs to place channels while Redis is away: some of all known SFUs,
-- by address, an order that does not move, and those that transitions since the last page name. Not for a request path.
-- Notes when it was read, and for how long it was not: in that time no SFU could report. So a Redis that refuses writes
-- (cut off from its replicas, read-only, full) does not look healthy to a replica that only reads.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  the address after which the page begins, '' for the first page of a pass
-- ARGV[3]  how many SFUs to look at, at most
-- ARGV[4]  id of the newest transition that the caller has taken into account, '' for none
--
-- Returns  {epoch, when this registry's data began, whether most of the fleet is silent 0|1, sessions per channel by the
--           setting, now, the address after which the next page begins or '', id of the newest transition that this page
--           takes into account, more transitions to come 0|1, nodes, absent}
--          epoch: moves with members and generations; another beginning means that data was lost; both '' while it is
--          empty
--          each node: {address, region, sealed key, public_url, load, sessions, max_sessions, eligibility, generation,
--          state}; absent: addresses that are down, or keep no calls
local MOST_EVENTS = 100
local now = clock(ARGV[1])
local learned = learned_read(now)
local nodes, absent, looked_at = {}, {}, {}

local _, away_until, away_ms = silence_clock(now)
redis.call('HSET', key('fleet'), 'read_at', tostring(now), 'away_until', tostring(away_until),
  'away_ms', tostring(away_ms))

local function look_at(address)
  if looked_at[address] then
    return
  end
  looked_at[address] = true
  local node = node_read(address)
  local eligible, state
  if node then
    eligible, state = eligibility(node, now, learned)
  end
  if eligible then
    nodes[#nodes + 1] = {
      address, node.region, node.key, node.public_url, tostring(node.load), tostring(node.sessions + node.reserved),
      tostring(node.max_sessions), eligible, tostring(node.generation), state,
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

local after = ARGV[2] == '' and '-' or '(' .. ARGV[2]
local page = redis.call('ZRANGEBYLEX', key('sfus'), after, '+', 'LIMIT', 0, ARGV[3])
for _, address in ipairs(page) do
  look_at(address)
end
local epoch, began_at = epoch_read()
local next_page = #page == tonumber(ARGV[3]) and page[#page] or ''
return { epoch, began_at, silent_most(now) and 1 or 0, tostring(policy.sessions_per_channel), now, next_page, newest,
  more, nodes, absent }
