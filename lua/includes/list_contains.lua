-- Whether `list`, items separated by `separator`, contains `item`.
local function list_contains(list, separator, item)
  return list ~= '' and string.find(separator .. list .. separator, separator .. item .. separator, 1, true) ~= nil
end
