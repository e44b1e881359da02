-- settle: end a call, once. Releases what it holds, charges what it cost, writes the ledger.
--
-- Modes: "settle"   the call ended and this is its bill. A settlement that comes after the lease ran out replaces the
--                   unconfirmed charge: the counters move by the difference, the ledger entry is written anew.
--        "void"     the call was never made: release only.
--        "reclaim"  the lease ran out and nobody settled: charge what is held, leave a note for a late settlement.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3 settled ids of the day of admission (set)  4 unconfirmed note (hash)
--       5 ledger of the month of admission (stream)  6 day's roll-up (hash)  7 day's callers (zset)
--       8 thresholds (stream)  9 learned costs (list)  10..9+n budgets (hash)  10+n quota counter (only with a quota)
-- ARGV: 1 mode  2 call id  3 now (Unix ms; "0" = Redis's TIME)  4 n, number of budgets
--       5 the record as read (reclaim only; it must still be this one)
--       6 units really drawn from the quota (thousandths; "" = as drawn at admission)
--       7 cost (atoms of the ledger's currency)  8 sample to learn from (atoms; "" = none)
--       9 keep until (ms): settled ids  10 ledger  11 roll-ups  12 quota
--       13 now as ISO 8601  14..34 values of the ledger's entry, in the order of FIELDS below
--       35.. for each budget 10 values: name, period, limit (atoms), keep until (ms), digits of an atom, currency, limit
--           as text, charge (atoms), lowest threshold (atoms), all thresholds ("70=10500000000 80=...", ascending)
-- Returns {1, tightest budget (0 = none), its spent, its reserved, [budget, percent]...}  done; pairs newly crossed
--         {0}                                                                            nothing to do: ended before
-- Invariants: a call is charged once; reserved never goes below zero; each threshold enters its stream once a period.

local FIELDS = {'id', 'at', 'api', 'rule', 'caller', 'method', 'path', 'status', 'state', 'cost', 'currency',
  'original_cost', 'original_currency', 'fx_rate', 'fx_date', 'estimate', 'model', 'usage', 'terms', 'budgets', 'note'}
local ENTRY, BUDGETS, WIDTH = 13, 35, 10
local mode, id, n = ARGV[1], ARGV[2], tonumber(ARGV[4])
local api, rule, caller, remark = ARGV[ENTRY + 3], ARGV[ENTRY + 4], ARGV[ENTRY + 5], ARGV[ENTRY + 21]

-- 1. read -------------------------------------------------------------------------------------------------------
local record = redis.call('HGET', KEYS[1], id)
local note = nil
if not record and mode == 'settle' then
  note = redis.call('HMGET', KEYS[4], 'charged', 'entry', 'cost', 'units')
  if not note[1] then note = nil end
end

-- 2. decide -----------------------------------------------------------------------------------------------------
if mode == 'reclaim' then
  if record ~= ARGV[5] then return {0} end
  local lease = redis.call('ZSCORE', KEYS[2], id)
  if lease and tonumber(lease) > clock(ARGV[3]) then return {0} end
elseif not record then
  if mode == 'void' then return {0} end
  -- Neither held nor unconfirmed: a repeat, or a call that held nothing (free), or one whose reservation was lost.
  if not note and redis.call('SISMEMBER', KEYS[3], id) == 1 then return {0} end
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
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
local units = drawn
if mode == 'void' then units = 0 elseif ARGV[6] ~= '' then units = tonumber(ARGV[6]) end
local quota = KEYS[10 + n]
if quota and units ~= drawn then
  redis.call('HINCRBY', quota, 'used', int(units - drawn))
  live_until(quota, ARGV[12], clock(ARGV[3]))
end

local reply = {1, 0, 0, 0}
local tight, charges = nil, {}
for i = 1, n do
  local key, at = KEYS[9 + i], BUDGETS + (i - 1) * WIDTH
  local level = redis.call('HMGET', key, 'spent', 'reserved', 'crossed', 'limit')
  local spent, reserved = tonumber(level[1]) or 0, tonumber(level[2]) or 0
  local limit, digits, currency = tonumber(ARGV[at + 2]), ARGV[at + 4], ARGV[at + 5]
  local release = math.min(held[i] or 0, reserved)
  local charge = mode == 'void' and 0 or tonumber(ARGV[at + 7])
  charges[i] = int(charge)
  charge = charge - (charged[i] or 0)
  spent, reserved = spent + charge, reserved - release
  if release > 0 then redis.call('HINCRBY', key, 'reserved', int(-release)) end
  if charge ~= 0 then redis.call('HINCRBY', key, 'spent', int(charge)) end
  redis.call('HSET', key, 'spent_text', money(spent, digits, currency), 'reserved_text', money(reserved, digits, currency))
  if not level[4] then live_until(key, ARGV[at + 3], clock(ARGV[3])) end
  if charge > 0 and spent >= tonumber(ARGV[at + 8]) then
    local crossed, found = ',' .. (level[3] or '') .. ',', false
    for percent, amount in string.gmatch(ARGV[at + 9], '([^= ]+)=(%d+)') do
      if spent < tonumber(amount) then break end
      if not string.find(crossed, ',' .. percent .. ',', 1, true) then
        crossed, found = crossed .. percent .. ',', true
        reply[#reply + 1], reply[#reply + 2] = i, percent
        redis.call('XADD', KEYS[8], 'MAXLEN', '~', '100000', '*', 'budget', ARGV[at], 'period', ARGV[at + 1],
          'threshold', percent, 'spent', money(spent, digits, currency), 'limit', ARGV[at + 6],
          'currency', currency, 'at', ARGV[13], 'call', id)
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
if #reply > 4 then redis.call('EXPIRE', KEYS[8], 34560000) end

local cost = tonumber(ARGV[7])
local values = {}
for i, field in ipairs(FIELDS) do values[2 * i - 1], values[2 * i] = field, ARGV[ENTRY + i] end
local entry = redis.call('XADD', KEYS[5], '*', unpack(values))
if note then
  redis.call('XDEL', KEYS[5], note[2])
  redis.call('DEL', KEYS[4])
else
  redis.call('SADD', KEYS[3], id)
  if redis.call('HINCRBY', KEYS[6], 'calls|' .. api .. '|' .. rule .. '|' .. caller, 1) == 1 then
    -- First of its kind today: the day's keys may be new, so give all of them their lifetime.
    local now = clock(ARGV[3])
    live_until(KEYS[3], ARGV[9], now)
    live_until(KEYS[5], ARGV[10], now)
    live_until(KEYS[6], ARGV[11], now)
  end
end
if mode == 'reclaim' then
  redis.call('HSET', KEYS[4], 'charged', table.concat(charges, ' '), 'entry', entry, 'cost', int(cost), 'units', int(units))
  redis.call('EXPIRE', KEYS[4], 604800)
end
if cost ~= cost_before then
  local more = int(cost - cost_before)
  redis.call('HINCRBY', KEYS[6], 'cost|' .. api .. '|' .. rule .. '|' .. caller, more)
  if redis.call('ZINCRBY', KEYS[7], more, caller) == more then live_until(KEYS[7], ARGV[11], clock(ARGV[3])) end
end
if remark ~= '' then redis.call('HINCRBY', KEYS[6], 'note|' .. api .. '|' .. remark, 1) end
if ARGV[8] ~= '' then
  redis.call('LPUSH', KEYS[9], ARGV[8])
  redis.call('LTRIM', KEYS[9], 0, 999)
  redis.call('EXPIRE', KEYS[9], 3456000)
end
return reply
