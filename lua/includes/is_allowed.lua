-- Whether a region is within the request's hard limit: '*' allows all, else names separated by commas.
local function is_allowed(region, allowed)
  return allowed == '*' or string.find(',' .. allowed .. ',', ',' .. region .. ',', 1, true) ~= nil
end
