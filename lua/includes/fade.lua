-- What is left at `now` of `amount` channels' joining people, counted at `since`: e^(-dt/J) of them are
-- still to come (J = `join_ms`).
local function fade(amount, since, now, join_ms)
  return amount * math.exp(-math.max(0, now - since) / join_ms)
end
