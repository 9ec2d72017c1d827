--- @include "clock"
--- @include "epoch_read"
--- @include "key"
--- @include "learned_read"
--- @include "node_describe"
--- @include "node_health"
--- @include "node_read"
--- @include "policy"
--- @include "silence_clock"
--- @include "silent_most"

-- A page of the fleet, living and lost, for every reader: some of all known SFUs by address, an order that does not move;
-- those that transitions since the last page name; those that the caller names. Not for a request path.
-- For a replica it notes when the fleet was read, and for how long it was not: in that time no SFU could report. So a
-- Redis that refuses writes (cut off from its replicas, read-only, full) does not look healthy to a replica that only
-- reads. For other callers it changes nothing and returns no keys of SFUs.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2]  1 for the reading of a replica, else 0
-- ARGV[3]  the address after which the page begins, '' for the first page of a pass
-- ARGV[4]  how many SFUs to look at by address, at most
-- ARGV[5]  id of the newest transition that the caller has taken into account, '' for none
-- ARGV[6..] addresses to look at besides
--
-- Returns  {epoch, when this registry's data began, whether most of the fleet is silent 0|1, sessions per channel by the
--           setting, now, the address after which the next page begins or '', id of the newest transition that this page
--           takes into account, more transitions to come 0|1, SFUs, absent}
--          epoch: moves with members and generations; another beginning means that data was lost; both '' while it is
--          empty
--          each SFU: a JSON list, see node_describe; absent: addresses that are not known
local MOST_EVENTS = 100
local now = clock(ARGV[1])
local is_replica = ARGV[2] == '1'
local learned = learned_read(now)
local sfus, absent, looked_at = {}, {}, {}

if is_replica then
  local _, away_until, away_ms = silence_clock(now)
  redis.call('HSET', key('fleet'), 'read_at', tostring(now), 'away_until', tostring(away_until),
    'away_ms', tostring(away_ms))
end

local function look_at(address)
  if looked_at[address] or address == '' then
    return
  end
  looked_at[address] = true
  local node = node_read(address)
  if node then
    sfus[#sfus + 1] = node_describe(node, now, learned, is_replica and node.key or '')
  else
    absent[#absent + 1] = address
  end
end

local newest, more = ARGV[5], 0
if newest == '' then
  local last = redis.call('XREVRANGE', key('events'), '+', '-', 'COUNT', 1)[1]
  newest = last and last[1] or '0-0'
else
  local events = redis.call('XRANGE', key('events'), '(' .. newest, '+', 'COUNT', MOST_EVENTS)
  for _, event in ipairs(events) do
    newest = event[1]
    for i = 1, #event[2], 2 do
      if event[2][i] == 'address' then
        look_at(event[2][i + 1])
      end
    end
  end
  more = #events == MOST_EVENTS and 1 or 0
end

for i = 6, #ARGV do
  look_at(ARGV[i])
end
local after = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local page = redis.call('ZRANGEBYLEX', key('sfus'), after, '+', 'LIMIT', 0, ARGV[4])
for _, address in ipairs(page) do
  look_at(address)
end
local epoch, began_at = epoch_read()
local next_page = #page == tonumber(ARGV[4]) and page[#page] or ''
return { epoch, began_at, silent_most(now) and 1 or 0, tostring(policy.sessions_per_channel), now, next_page, newest,
  more, sfus, absent }
