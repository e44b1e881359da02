-- settle: end a call, once. Releases what it holds, charges what it cost, writes the ledger.
--
-- Modes: "settle"   the call ended and this is its bill. A settlement that comes after the lease ran out replaces the
--                   unconfirmed charge: the counters move by the difference, the ledger entry is written anew.
--        "void"     the call was never made: release only.
--        "reclaim"  the lease ran out and nobody settled: charge what is held, leave a note for a late settlement.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3 settled ids of the day of admission (set)
--       4 ledger of the month of admission (stream)  5 day's roll-up (hash)  6 day's callers (zset)
--       7 thresholds (stream)  8..7+n budgets (hash)  8+n quota counter (only with a quota)
--       the last but one: unconfirmed note (hash)  the last: learned costs (list)
-- ARGV: 1 mode  2 call id  3 now (Unix ms; "0" = Redis's TIME)  4 n, number of budgets
--       5 the record as read (reclaim only; it must still be this one)
--       6 units really drawn from the quota (thousandths; "" = as drawn at admission)
--       7 cost (atoms of the ledger's currency)  8 sample to learn from (atoms; "" = none)
--       9 now as ISO 8601  10..30 values of the ledger's entry, in the order of FIELDS below
--       31.. n charges (atoms)
--       then keep until (ms) four times: settled ids, ledger, roll-ups, quota
--       then for each budget 9 values: name, period, limit (atoms), keep until (ms), digits of an atom, currency, limit
--           as text, lowest threshold (atoms), all thresholds ("70=10500000000 80=...", ascending)
-- Returns {1, tightest budget (0 = none), its spent, its reserved, [budget, percent]...}  done; pairs newly crossed
--         {0}                                                                            nothing to do: ended before
-- Invariants: a call is charged once; reserved never goes below zero; each threshold enters its stream once a period.

local FIELDS = {'id', 'at', 'api', 'rule', 'caller', 'method', 'path', 'status', 'state', 'cost', 'currency',
  'original_cost', 'original_currency', 'fx_rate', 'fx_date', 'estimate', 'model', 'usage', 'terms', 'budgets', 'note'}
local mode, id, n = ARGV[1], ARGV[2], tonumber(ARGV[4])
local NOW_TEXT, CHARGES = 9, 31
local KEEP, BUDGETS, WIDTH = CHARGES + n, CHARGES + n + 4, 9
local RESERVATIONS, LEASES, SETTLED, LEDGER, DAY, CALLERS, THRESHOLDS = unpack(KEYS, 1, 7)
local UNCONFIRMED, LEARNED = KEYS[#KEYS - 1], KEYS[#KEYS]
local quota = #KEYS > 9 + n and KEYS[8 + n]
local api, rule, caller, remark = ARGV[NOW_TEXT + 3], ARGV[NOW_TEXT + 4], ARGV[NOW_TEXT + 5], ARGV[NOW_TEXT + 21]

-- 1. read -------------------------------------------------------------------------------------------------------
local record = redis.call('HGET', RESERVATIONS, id)
local note = nil
if not record and mode == 'settle' then
  note = redis.call('HMGET', UNCONFIRMED, 'charged', 'entry', 'cost', 'units')
  if not note[1] then note = nil end
end

-- 2. decide -----------------------------------------------------------------------------------------------------
if mode == 'reclaim' then
  if record ~= ARGV[5] then return {0} end
  local lease = redis.call('ZSCORE', LEASES, id)
  if lease and tonumber(lease) > clock(ARGV[3]) then return {0} end
elseif not record then
  if mode == 'void' then return {0} end
  -- Neither held nor unconfirmed: a repeat, or a call that held nothing (free), or one whose reservation was lost.
  if not note and redis.call('SISMEMBER', SETTLED, id) == 1 then return {0} end
end

local held, drawn = {}, 0
if record then held, drawn = unpack_record(record) end
local charged, cost_before = {}, 0
if note then
  for amount in string.gmatch(note[1], '%d+') do charged[#charged + 1] = tonumber(amount) end
  cost_before, drawn = tonumber(note[3]), tonumber(note[4])
end

-- 3. write ------------------------------------------------------------------------------------------------------
if record then
  redis.call('HDEL', RESERVATIONS, id)
  redis.call('ZREM', LEASES, id)
end
local units = drawn
if mode == 'void' then units = 0 elseif ARGV[6] ~= '' then units = tonumber(ARGV[6]) end
if quota and units ~= drawn then
  redis.call('HINCRBY', quota, 'used', int(units - drawn))
  live_until(quota, ARGV[KEEP + 3], clock(ARGV[3]))
end

local reply = {1, 0, 0, 0}
local tight, charges = nil, {}
for i = 1, n do
  local key, at = KEYS[7 + i], BUDGETS + (i - 1) * WIDTH
  local level = redis.call('HMGET', key, 'spent', 'reserved', 'crossed', 'limit')
  local spent, reserved = tonumber(level[1]) or 0, tonumber(level[2]) or 0
  local limit, digits, currency = tonumber(ARGV[at + 2]), ARGV[at + 4], ARGV[at + 5]
  local release = math.min(held[i] or 0, reserved)
  local charge = mode == 'void' and 0 or tonumber(ARGV[CHARGES + i - 1])
  charges[i] = int(charge)
  charge = charge - (charged[i] or 0)
  spent, reserved = spent + charge, reserved - release
  if release > 0 then redis.call('HINCRBY', key, 'reserved', int(-release)) end
  if charge ~= 0 then redis.call('HINCRBY', key, 'spent', int(charge)) end
  redis.call('HSET', key, 'spent_text', money(spent, digits, currency), 'reserved_text', money(reserved, digits, currency))
  if not level[4] then live_until(key, ARGV[at + 3], clock(ARGV[3])) end
  if charge > 0 and spent >= tonumber(ARGV[at + 7]) then
    local crossed, found = ',' .. (level[3] or '') .. ',', false
    for percent, amount in string.gmatch(ARGV[at + 8], '([^= ]+)=(%d+)') do
      if spent < tonumber(amount) then break end
      if not string.find(crossed, ',' .. percent .. ',', 1, true) then
        crossed, found = crossed .. percent .. ',', true
        reply[#reply + 1], reply[#reply + 2] = i, percent
        redis.call('XADD', THRESHOLDS, 'MAXLEN', '~', '100000', '*', 'budget', ARGV[at], 'period', ARGV[at + 1],
          'threshold', percent, 'spent', money(spent, digits, currency), 'limit', ARGV[at + 6],
          'currency', currency, 'at', ARGV[NOW_TEXT], 'call', id)
      end
    end
    if found then redis.call('HSET', key, 'crossed', string.match(crossed, '^,*(.-),*$')) end
  end
  local left = limit - spent - reserved
  local room = (held[i] or 0) > 0 and left / held[i] or left
  if tight == nil or room < tight then
    tight, reply[2], reply[3], reply[4] = room, i, spent, reserved
  end
end
if mode == 'void' then return reply end
if #reply > 4 then redis.call('EXPIRE', THRESHOLDS, 34560000) end

local cost = tonumber(ARGV[7])
local values = {}
for i, field in ipairs(FIELDS) do values[2 * i - 1], values[2 * i] = field, ARGV[NOW_TEXT + i] end
local entry = redis.call('XADD', LEDGER, '*', unpack(values))
if note then
  redis.call('XDEL', LEDGER, note[2])
  redis.call('DEL', UNCONFIRMED)
else
  redis.call('SADD', SETTLED, id)
  if redis.call('HINCRBY', DAY, 'calls|' .. api .. '|' .. rule .. '|' .. caller, 1) == 1 then
    -- First of its kind today: the day's keys may be new, so give all of them their lifetime.
    local now = clock(ARGV[3])
    live_until(SETTLED, ARGV[KEEP], now)
    live_until(LEDGER, ARGV[KEEP + 1], now)
    live_until(DAY, ARGV[KEEP + 2], now)
  end
end
if mode == 'reclaim' then
  redis.call('HSET', UNCONFIRMED, 'charged', table.concat(charges, ' '), 'entry', entry, 'cost', int(cost), 'units', int(units))
  redis.call('EXPIRE', UNCONFIRMED, 604800)
end
if cost ~= cost_before then
  local more = int(cost - cost_before)
  redis.call('HINCRBY', DAY, 'cost|' .. api .. '|' .. rule .. '|' .. caller, more)
  if redis.call('ZINCRBY', CALLERS, more, caller) == more then live_until(CALLERS, ARGV[KEEP + 2], clock(ARGV[3])) end
end
if remark ~= '' then redis.call('HINCRBY', DAY, 'note|' .. api .. '|' .. remark, 1) end
if ARGV[8] ~= '' then
  redis.call('LPUSH', LEARNED, ARGV[8])
  redis.call('LTRIM', LEARNED, 0, 999)
  redis.call('EXPIRE', LEARNED, 3456000)
end
return reply
