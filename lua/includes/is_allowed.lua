-- Whether a region is within the request's hard limit; no limit allows all.
local function is_allowed(region, allowed)
  if not allowed then
    return true
  end
  for _, name in ipairs(allowed) do
    if name == region then
      return true
    end
  end
  return false
end
