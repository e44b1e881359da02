-- settle: end a call, once. Releases what it holds, charges what it cost, writes the ledger.
--
-- Modes: "settle"   the call ended and this is its bill. A settlement that comes after the lease ran out replaces the
--                   unconfirmed charge: the counters move by the difference, the ledger entry is written anew.
--        "void"     the call was never made: release only.
--        "reclaim"  the lease ran out and nobody settled: charge what is held, leave a note for a late settlement.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3 settled ids of the day of admission (set)
--       4 ledger of the month of admission (stream)  5 day's roll-up (hash)  6 day's callers (zset)
--       7 thresholds (stream)  8 switches (hash)  9..8+n budgets (hash)  9+n quota counter (only with a quota)
--       then limits (hashes), then breakers (hashes)
--       the last but one: unconfirmed note (hash)  the last: learned costs (list)
-- ARGV: 1 the call: {"api|rule|caller", api, caller, mode, id, its admission (ISO 8601),
--           now (Unix ms; 0 = Redis's TIME), now as ISO 8601,
--           units really drawn from the quota (thousandths; false = as drawn at admission),
--           cost (atoms of the ledger's currency), sample to learn from (atoms; false = none), note ("" = none; words),
--           n charges (atoms), guard, rest of the ledger's entry: {field, value, field, value, ...}}
--           guard: false, or {what limits count of it after all: requests, tokens, input, output, 0, each cost; false
--           = as admitted, result (0 = says nothing of the API  1 = worked  2 = failed), ms until its answer began,
--           chance (0 to 1000, for the breaker's next opening), the API asked for a pause until (ms; 0 = not),
--           earlier attempts, where the call was made again: each {result, ms}}
--       2 what its plan says: {keep until (ms): settled ids, ledger, roll-ups, quota;
--           n budgets: each {name, period, limit (atoms), keep until (ms), digits of an atom (6 | 9), currency, limit as
--           text, thresholds: {percent, atoms, percent, atoms, ...}, ascending},
--           quota (1 | 0), field of `switches` for the API's pause, limits as in admit, breakers: each {name, bucket (ms),
--           buckets, least calls, failures (basis points), consecutive, slow (ms), slow (basis points), open (ms), open at
--           most (ms), probes}; -1 = not a reason}
--       3 reclaim: the record as read (it must still be this one); settle: what was saved (atoms of the ledger's
--           currency), where something was
-- Returns {1, tightest budget (0 = none), its spent, its reserved, its limit, circuits changed, [budget, percent]...}
--             done; circuits: "openai open failures; ..." or ""; the pairs are thresholds newly crossed; limits are
--             those that hold: with what was added to them for this period
--         {0}                                                                nothing to do: ended before
-- Invariants: a call is charged once; reserved never goes below zero; each threshold enters its stream once a
--             period and limit: raised, it is crossed again when it is reached again.

local who, api, caller, mode, id, at, given, now_text, used, cost, sample, remark, bill, guard, entry =
  unpack(cmsgpack.unpack(ARGV[1]))
local keep_settled, keep_ledger, keep_days, keep_quota, budgets, has_quota, pausing, scopes, breakers =
  unpack(cmsgpack.unpack(ARGV[2]))
local n = #budgets
local RESERVATIONS, LEASES, SETTLED, LEDGER, DAY, CALLERS, THRESHOLDS, SWITCHES = unpack(KEYS, 1, 8)
local UNCONFIRMED, LEARNED = KEYS[#KEYS - 1], KEYS[#KEYS]
local quota = has_quota == 1 and KEYS[9 + n]
local LIMITS = 8 + n + has_quota
local BREAKERS = LIMITS + #scopes

-- 1. read -------------------------------------------------------------------------------------------------------
local record = call('HGET', RESERVATIONS, id)
local note = nil
if not record and mode == 'settle' then
  note = call('HMGET', UNCONFIRMED, 'charged', 'entry', 'cost', 'units')
  if not note[1] then note = nil end
end

-- 2. decide -----------------------------------------------------------------------------------------------------
if mode == 'reclaim' then
  if record ~= ARGV[3] then return {0} end
  local lease = call('ZSCORE', LEASES, id)
  if lease and tonumber(lease) > clock(given) then return {0} end
elseif not record then
  if mode == 'void' then return {0} end
  -- Neither held nor unconfirmed: a repeat, or a call that held nothing (free), or one whose reservation was lost.
  if not note and call('SISMEMBER', SETTLED, id) == 1 then return {0} end
end

local held, drawn, guarded = {}, 0, ''
if record then
  local _
  held, drawn, _, _, guarded = unpack_record(record)
end
local charged, cost_before = {}, 0
if note then
  for amount in string.gmatch(note[1], '%d+') do charged[#charged + 1] = tonumber(amount) end
  cost_before, drawn = tonumber(note[3]), tonumber(note[4])
end

-- 3. write ------------------------------------------------------------------------------------------------------
if record then
  call('HDEL', RESERVATIONS, id)
  call('ZREM', LEASES, id)
end
local circuits = ''
if guarded ~= '' then
  local limits_corrected, circuits_told = guard_ends()
  local counted, generations = string.match(guarded, '^([^;]*);(.*)$')
  limits_corrected(scopes, LIMITS, numbers(counted), mode, guard and guard[1])
  circuits = circuits_told(breakers, BREAKERS, generations, id, clock(given), mode == 'settle' and guard)
end
if guard and guard[5] > 0 then pause_until(SWITCHES, pausing, guard[5], clock(given)) end
local units = drawn
if mode == 'void' then units = 0 elseif used then units = used end
if quota and units ~= drawn then
  call('HINCRBY', quota, 'used', int(units - drawn))
  live_until(quota, keep_quota, clock(given))
end

local reply = {1, 0, 0, 0, 0, circuits}
local tight = nil
for i = 1, n do
  local key, name, period, limit, keep, digits, currency, limit_text, thresholds = KEYS[8 + i], unpack(budgets[i])
  local level = call('HMGET', key, 'spent', 'reserved', 'crossed', 'limit', 'increase', 'crossed_limit')
  local spent, reserved, release = tonumber(level[1]) or 0, tonumber(level[2]) or 0, held[i] or 0
  local increase = level[5]
  limit = raised(limit, increase)
  if release > reserved then release = reserved end
  local charge = (mode == 'void' and 0 or bill[i]) - (charged[i] or 0)
  spent, reserved = spent + charge, reserved - release
  local spent_text = money(spent, digits, currency)
  if spent < EXACT and reserved < EXACT then
    call('HSET', key, 'spent', spent, 'reserved', reserved, 'spent_text', spent_text,
      'reserved_text', money(reserved, digits, currency))
  else
    call('HINCRBY', key, 'spent', int(charge))
    call('HINCRBY', key, 'reserved', int(-release))
    call('HSET', key, 'spent_text', spent_text, 'reserved_text', money(reserved, digits, currency))
  end
  if not level[4] then live_until(key, keep, clock(given)) end
  if charge > 0 and (increase or spent >= thresholds[2]) then
    local crossed, found = ',' .. (level[3] or '') .. ',', false
    local moved = level[6] and tonumber(level[6]) ~= limit  -- what was crossed, was crossed under another limit
    for t = 1, #thresholds, 2 do
      local percent, amount = thresholds[t], thresholds[t + 1]
      if increase then amount = threshold(limit, math.floor(tonumber(percent) * 100 + 0.5)) end
      local at, to = string.find(crossed, ',' .. percent .. ',', 1, true)
      if at and moved and spent - charge < amount then
        crossed, found, at = string.sub(crossed, 1, at) .. string.sub(crossed, to + 1), true, nil
      end
      if spent < amount and not moved then break end
      if spent >= amount and not at then
        crossed, found = crossed .. percent .. ',', true
        reply[#reply + 1], reply[#reply + 2] = i, percent
        call('XADD', THRESHOLDS, 'MAXLEN', '~', '100000', '*', 'budget', name, 'period', period, 'threshold', percent,
          'spent', spent_text, 'limit', increase and money(limit, digits, currency) or limit_text, 'currency', currency, 'at', now_text, 'call', id)
      end
    end
    if found then call('HSET', key, 'crossed', string.match(crossed, '^,*(.-),*$'), 'crossed_limit', int(limit)) end
  end
  local left = limit - spent - reserved
  local room = (held[i] or 0) > 0 and left / held[i] or left
  if tight == nil or room < tight then
    tight, reply[2], reply[3], reply[4], reply[5] = room, i, spent, reserved, limit
  end
end
if mode == 'void' then return reply end
if #reply > 6 then call('EXPIRE', THRESHOLDS, 34560000) end

local entry_id = call('XADD', LEDGER, '*', 'id', id, 'at', at, unpack(entry))
if note then
  call('XDEL', LEDGER, note[2])
  call('DEL', UNCONFIRMED)
else
  call('SADD', SETTLED, id)
  if call('HINCRBY', DAY, 'calls|' .. who, 1) == 1 then
    -- First of its kind today: the day's keys may be new, so give all of them their lifetime.
    local now = clock(given)
    live_until(SETTLED, keep_settled, now)
    live_until(LEDGER, keep_ledger, now)
    live_until(DAY, keep_days, now)
  end
end
if mode == 'reclaim' then
  local charges = {}
  for i = 1, n do charges[i] = int(bill[i]) end
  call('HSET', UNCONFIRMED, 'charged', table.concat(charges, ' '), 'entry', entry_id, 'cost', int(cost), 'units', int(units))
  call('EXPIRE', UNCONFIRMED, 604800)
end
if cost ~= cost_before then
  local more = int(cost - cost_before)
  call('HINCRBY', DAY, 'cost|' .. who, more)
  if call('ZINCRBY', CALLERS, more, caller) == more then live_until(CALLERS, keep_days, clock(given)) end
end
if mode == 'settle' and ARGV[3] then
  call('HINCRBY', DAY, 'saved|' .. who, ARGV[3])
  if string.find(remark, 'cache_', 1, true) then call('HINCRBY', DAY, 'saved_cache|' .. who, ARGV[3]) end
end
for word in string.gmatch(remark, '%S+') do call('HINCRBY', DAY, 'note|' .. api .. '|' .. word, 1) end
if sample then
  call('LPUSH', LEARNED, int(sample))
  call('LTRIM', LEARNED, 0, 999)
  call('EXPIRE', LEARNED, 3456000)
end
return reply
