-- What an attempt has reserved, from attempt_take: reserved_at, generation and address of the node, role ('-', or
-- 'last-resort': the node was ejected when it was chosen).
local function attempt_parse(text)
  local reserved_at, generation, role, address = string.match(text, '^(%d+) (%d+) (%S+) (%S+)$')
  return {
    reserved_at = tonumber(reserved_at or 0), generation = tonumber(generation or 0), role = role or '-',
    address = address or '',
  }
end
