--- @include "ejection_start"
--- @include "node_set"

-- Counts an attempt of request `id` without a channel against a node. `error` (a short text, '' for none) is kept for
-- operators. A half-open permit ends with its owner's outcome; while another request has it, a failure only adds
-- up.
local function node_blame(node, id, result, error, now, random)
  if node.permit == id then
    node_set(node, 'permit', '')
    node_set(node, 'permit_until', 0)
  end
  if error ~= '' then
    node_set(node, 'last_error', error)
    node_set(node, 'last_error_at', now)
    node_set(node, 'errors', node.errors + 1)
  end
  if result == 'unblamed' then
    return
  end
  if node.permit_until > now then
    node_set(node, 'failures', node.failures + 1)
  else
    ejection_start(node, result, now, random)
  end
end
