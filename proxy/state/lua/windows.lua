-- windows: how rate limits count. Put between the prelude and admit.
--
-- A window of length W is cut into B buckets of W / B; its sum is that of the running bucket and the B before it. The
-- oldest is counted whole until all of it is older than W, so no window of length W, wherever it begins, ever holds more
-- than the limit. A hash keeps for each window `name` (the sum), `name|at` (the last bucket used) and `name|0` ...
-- `name|B` (the buckets, in a ring): bounded, whatever happens.

-- In one function, because most calls have no limits: only they pay for its parts.
local function sliding_windows()
  -- The sum of a window and of its running bucket, as of `now`. read: values of name, name|at and, for the bucket that runs
  -- now, name|<slot>. Returns sum, its bucket, that bucket's amount, slots that are old ("name|3", ...).
  local function slide(key, name, width, buckets, now, read)
    local sum, at, index = tonumber(read[1]) or 0, tonumber(read[2]), math.floor(now / width)
    local ring = buckets + 1
    if not at or at == index then return sum, index, tonumber(read[3]) or 0, {} end
    -- A clock that went back: what runs is still the last bucket.
    if at > index then return sum, at, tonumber(call('HGET', key, name .. '|' .. fmod(at, ring))) or 0, {} end
    local old = {}
    for i = math.max(at + 1, index - buckets), index do old[#old + 1] = name .. '|' .. fmod(i, ring) end
    if index - at > buckets then return 0, index, 0, old end
    for _, amount in ipairs(call('HMGET', key, unpack(old))) do sum = sum - (tonumber(amount) or 0) end
    return math.max(sum, 0), index, 0, old
  end

  -- How long until `needed` of what a window holds is old (ms). Reads every bucket: only for refusals.
  local function wait_for(key, name, width, buckets, now, index, needed)
    local slots, ring = {}, buckets + 1
    for i = index - buckets, index do slots[#slots + 1] = name .. '|' .. fmod(i, ring) end
    local at = call('HGET', key, name .. '|at')
    for n, amount in ipairs(call('HMGET', key, unpack(slots))) do
      local bucket = index - buckets + n - 1
      -- Slots behind the last bucket used still hold what is a whole ring older.
      if bucket <= tonumber(at or 0) then needed = needed - (tonumber(amount) or 0) end
      if needed <= 0 then return (bucket + ring) * width - now end
    end
    return ring * width
  end

  return slide, wait_for
end
