-- Whether the request has tried this address already. Spaces separate the `excluded`: no address holds one.
local function is_excluded(address, excluded)
  return excluded ~= '' and string.find(' ' .. excluded .. ' ', ' ' .. address .. ' ', 1, true) ~= nil
end
