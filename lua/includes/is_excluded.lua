-- Whether the request has tried this address already.
local function is_excluded(address, excluded)
  for _, tried in ipairs(excluded) do
    if tried == address then
      return true
    end
  end
  return false
end
