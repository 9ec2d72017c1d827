-- What an attempt has reserved, from attempt_take: reserved_at, generation and address of the node, role ('-', or
-- 'last-resort': the node was ejected when it was chosen). And the result that it was recorded with before, ''.
local function attempt_parse(text)
  local reserved_at, generation, role, address, result = string.match(text, '^(%d+) (%d+) (%S+) (%S+) ?(%S*)$')
  return {
    reserved_at = tonumber(reserved_at or 0), generation = tonumber(generation or 0), role = role or '-',
    address = address or '', result = result or '',
  }
end
