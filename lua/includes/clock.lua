-- Milliseconds since the epoch: `given` when a test passes one, else Redis' own clock.
-- Read once per script: TIME moves inside a script on Redis 7.0 and is frozen on Valkey.
local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
