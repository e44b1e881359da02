-- Shared by every script: put before its text when it is loaded. Amounts are atoms: integers below 2^53.
--
-- Arguments that belong together come as one word: what all calls with the same budgets share is then encoded once, and
-- neither Redis nor Lua handles a hundred words for every call. What every call needs is packed as C does it (`struct`):
-- it is unpacked straight into locals, at a fifth of what a table costs. What few calls need comes in MessagePack, and is
-- unpacked by them alone. Numbers arrive as numbers, exactly.
--
-- A function costs something each time that a script runs, also where it is not called: making it, and the collector that
-- takes it away again, which Redis lets run after every fifty scripts and everybody waits for. What few calls need is
-- therefore made by `helpers()`, for them alone.

local call, fmod, format, parts = redis.call, math.fmod, string.format, struct.unpack
local EXACT = 9007199254740992 -- 2^53: sums below it are exact in Lua; Redis itself counts exactly up to 2^63

-- Unix milliseconds by Redis's own clock; a test gives its own instead (0 = none).
local function clock(given)
  if given ~= 0 then return given end
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- An integer in full: tostring() would lose digits.
local function int(n) return format('%d', n) end

local helped = nil
local function helpers()
  if helped then return helped end

  -- Lets a key live until `until_ms`, at least a day: relative, because the clock may be a test's.
  local function live_until(key, until_ms, now)
    call('PEXPIRE', key, int(math.max(until_ms - now, 86400000)))
  end

  -- Until when a switch's value ("<until ms> <audit id>") holds; 0 without one.
  local function until_of(value) return value and tonumber(string.match(value, '^%d+')) or 0 end

  -- Which switch stops a call now (1 stop, of what costs money  2 its API  3 its rule  4 its caller; 0 = none), and until
  -- when. found: the values of bypass, stop, lift:all, lift:api:.., api:.., rule:.., caller:..
  local function switched_off(found, now, costs)
    local lifted = now < until_of(found[3]) or now < until_of(found[4])
    for which = 1, 4 do
      local off = until_of(found[which == 1 and 2 or 3 + which])
      if now < off and (which > 1 or costs) and not (which == 2 and lifted) then return which, off end
    end
    return 0, 0
  end

  -- The first whole amount that has reached so many basis points of a limit. Exact: no product passes 2^53.
  local function threshold(limit, bp)
    local rest = fmod(limit, 10000)
    return (limit - rest) / 10000 * bp + math.ceil(rest * bp / 10000)
  end

  -- A limit with what was added to it for this period (the budget's field `increase`, atoms).
  local function raised(limit, increase)
    return increase and math.max(0, math.min(limit + tonumber(increase), EXACT)) or limit
  end

  -- Nobody calls an API until then; a longer pause that already holds stays.
  local function pause_until(switches, field, until_ms, now)
    if until_ms > now and until_ms > until_of(call('HGET', switches, field)) then
      call('HSET', switches, field, int(until_ms) .. ' upstream')
      call('EXPIRE', switches, 34560000)
    end
  end

  helped = {
    live_until = live_until,
    until_of = until_of,
    switched_off = switched_off,
    threshold = threshold,
    raised = raised,
    pause_until = pause_until,
  }
  return helped
end
