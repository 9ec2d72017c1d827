-- Changes a field of a node, in memory; node_save writes what has changed. Numbers go as text: Redis 7.0 takes
-- longer over a number that a script hands it.
local function node_set(node, field, value)
  if node[field] ~= value then
    node[field] = value
    local text = value == nil and '' or value == true and '1' or value == false and '0' or tostring(value)
    node.changes[#node.changes + 1] = field
    node.changes[#node.changes + 1] = text
  end
end
