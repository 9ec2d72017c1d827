--- @include "list_contains"
--- @include "node_set"
--- @include "policy"

-- What the `instance` of a heartbeat, the random id of the reporting process, says about a registration:
--   'same'       the process that reported last, or a process without an id
--   'restarted'  another process has taken its place
--   'shared'     a process that had been replaced reports again: two SFUs stand behind one address. Said once while
--                that goes on
-- The last eight ids that were replaced are kept. While an address is shared, a known id ends no registration.
local function instance_compare(node, instance, now)
  if instance == '' or instance == node.instance then
    return 'same'
  end
  if node.instance == '' then
    node_set(node, 'instance', instance)
    return 'same'
  end
  local former = node.former_instances
  local is_shared = list_contains(former, ' ', instance)
  local kept = { node.instance }
  for id in string.gmatch(former, '%S+') do
    if id ~= instance and id ~= node.instance and #kept < 8 then
      kept[#kept + 1] = id
    end
  end
  node_set(node, 'former_instances', table.concat(kept, ' '))
  node_set(node, 'instance', instance)
  if is_shared then
    local is_news = node.shared_at + 2 * policy.threshold_ms < now
    node_set(node, 'shared_at', now)
    return is_news and 'shared' or 'same'
  end
  return 'restarted'
end
