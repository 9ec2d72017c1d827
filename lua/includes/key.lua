local PREFIX = KEYS[1]

-- The Redis key of a part of this fleet: key('node', address), key('load', region).
-- KEYS[1] is the namespace's prefix with its hash tag, so every key lives in the slot of KEYS[1].
-- `app/registry/keys.py` builds the same names; a contract test compares the two.
local function key(kind, name, detail)
  if not name then
    return PREFIX .. kind
  end
  if not detail then
    return PREFIX .. kind .. ':' .. name
  end
  return PREFIX .. kind .. ':' .. name .. ':' .. detail
end
