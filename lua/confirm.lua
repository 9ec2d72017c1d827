--- @include "clock"
--- @include "learned_read"
--- @include "node_read"
--- @include "node_save"
--- @include "placement_confirm"
--- @include "placement_read"
--- @include "policy"
--- @include "reservation_add"

-- Confirms channels that replicas made without Redis, a few at a time: each issuer keeps its SFU, and the SFU's load
-- counts the channel.
--
-- Guarantees: as placement_confirm; a channel on an SFU that is gone, or that has registered anew since, is skipped. A
-- channel whose people have had time to join reserves nothing, because heartbeats count them.
--
-- KEYS[1]  the namespace's prefix
-- ARGV[1]  now in ms, '' for Redis' clock
-- ARGV[2..11], [12..21], ...  for each channel: request id, tenant, issuer, fingerprint of the channel's key, address,
--          generation (0: unknown), uuid, when it was confirmed (ms of Redis' clock), the caller's address, whether the
--          tenant has a limit 0|1
--
-- Returns  for each channel {won 0|1, tenant and address of the owner of its uuid, '', ''}
local now = clock(ARGV[1])
local learned = learned_read(now)

local replies = {}
for i = 2, #ARGV, 10 do
  local node, generation, at = node_read(ARGV[i + 4]), tonumber(ARGV[i + 5]), math.min(ARGV[i + 7] + 0, now)
  local reply = { 0, '', '' }
  if node and node.down_at == 0 and (generation == 0 or generation == node.generation) then
    local placement = placement_read(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
    local is_new = placement.confirmed_at == 0 or placement.address ~= node.address
    local won, tenant, address = placement_confirm(placement, { id = ARGV[i], name = ARGV[i] .. ':0',
      address = node.address, generation = tostring(node.generation), uuid = ARGV[i + 6], at = at, caller =
      placement.caller ~= '' and placement.caller or ARGV[i + 8], fingerprint = ARGV[i + 3], is_limited = ARGV[i + 9] == '1' }, now)
    if won and is_new and now - at < 2 * policy.join_ms then
      reservation_add(node, now)
      node_save(node, now, learned)
    end
    reply = { won and 1 or 0, tenant, address }
  end
  replies[#replies + 1] = reply
end
return replies
