-- What a replica that places without Redis may do with a node, by its derived state and tier: 'selectable', new channels;
-- 'sticky-only', its calls and no others; 'last-resort', it is ejected; '', nothing: its calls do not stay either.
local function eligibility(state, tier)
  if tier == 'load' then
    return 'selectable'
  end
  if not tier and state ~= 'draining' then
    return ''
  end
  return state == 'ejected' and 'last-resort' or 'sticky-only'
end
