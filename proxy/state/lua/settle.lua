-- settle: end a call, once. Releases what it holds, charges what it cost, writes the ledger.
--
-- Modes: settle   the call ended and this is its bill. A settlement that comes after the lease ran out replaces the
--                 unconfirmed charge: the counters move by the difference, the ledger entry is written anew.
--        void     the call was never made: release only.
--        reclaim  the lease ran out and nobody settled: charge what is held, leave a note for a late settlement.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3 settled ids of the day of admission (set)
--       4 ledger of the month of admission (stream)  5 day's roll-up (hash)  6 day's callers (zset)
--       7 thresholds (stream)  8 switches (hash)  9..8+n budgets (hash)  9+n quota counter (only with a quota)
--       then limits (hashes), then breakers (hashes)
--       the last but one: unconfirmed note (hash)  the last: learned costs (list)
-- ARGV: 1 the call, packed: mode (1 settle  2 void  3 reclaim), now (Unix ms; 0 = Redis's TIME), units really drawn from the
--           quota (thousandths; -1 = as drawn at admission), cost (atoms of the ledger's currency), learn from it (1 | 0),
--           n charges (atoms); then texts, each with a zero behind it: id, now (ISO 8601), and if the call was made the
--           entry's fields in the order in which they are written
--       2 what its plan says to every call, packed: n, quota (1 | 0); each budget: limit, lowest threshold
--           (atoms), digits of an atom (6 | 9), currency
--       3 what it says to few, in MessagePack: keep_settled, keep_ledger, keep_days, keep_quota (until, ms); budgets: each
--           {name, period, keep until (ms), limit as text, thresholds: {percent, atoms, percent, atoms, ...}, ascending};
--           pause: field of `switches` for the API's; limits as in admit; breakers: each {name, bucket (ms), buckets,
--           least calls, failures (basis points), consecutive, slow (ms), slow (basis points), open (ms), open at most
--           (ms), probes}; -1 = not a reason
--       4 what few calls say, in MessagePack; "" = nothing: {guard, what was saved (atoms of the ledger's currency),
--           more fields of the entry: {field, value, ...}}
--           guard: false, or {what limits count of it after all: requests, tokens, input, output, 0, each cost; false
--           = as admitted, result (0 = says nothing of the API  1 = worked  2 = failed), ms until its answer began,
--           chance (0 to 1000, for the breaker's next opening), the API asked for a pause until (ms; 0 = not),
--           earlier attempts, where the call was made again: each {result, ms}}
--       5 reclaim: the record as read (it must still be this one)
-- Returns {1, tightest budget (0 = none), its spent, its reserved, its limit, circuits changed, [budget, percent]...}
--             done; circuits: "openai open failures; ..." or ""; the pairs are thresholds newly crossed; limits are
--             those that hold: with what was added to them for this period
--         {0}                                                                nothing to do: ended before
-- Invariants: a call is charged once; reserved never goes below zero; each threshold enters its stream once a
--             period and limit: raised, it is crossed again when it is reached again.

local mode, given, used, cost, learns, at = parts('<BdddB', ARGV[1])
local n, has_quota, budgets_at = parts('<HB', ARGV[2])
local bill = {parts('<' .. string.rep('d', n), ARGV[1], at)}
local id, now_text, entry_at = parts('ss', ARGV[1], bill[n + 1])
local rest = nil
local function few() -- what the plan says to few
  rest = rest or cmsgpack.unpack(ARGV[3])
  return rest
end
local guard, saved, more = false, 0, {}
if ARGV[4] ~= '' then guard, saved, more = unpack(cmsgpack.unpack(ARGV[4])) end
local RESERVATIONS, LEASES, SETTLED, LEDGER, DAY, CALLERS, THRESHOLDS, SWITCHES = unpack(KEYS, 1, 8)
local UNCONFIRMED, LEARNED = KEYS[#KEYS - 1], KEYS[#KEYS]
local quota = has_quota == 1 and KEYS[9 + n]

-- 1. read -------------------------------------------------------------------------------------------------------
local record = call('HGET', RESERVATIONS, id)
local note = nil
if not record and mode == SETTLE then
  note = call('HMGET', UNCONFIRMED, 'charged', 'entry', 'cost', 'units')
  if not note[1] then note = nil end
end

-- 2. decide -----------------------------------------------------------------------------------------------------
if mode == RECLAIM then
  if record ~= ARGV[5] then return {0} end
  local lease = call('ZSCORE', LEASES, id)
  if lease and tonumber(lease) > clock(given) then return {0} end
elseif not record then
  if mode == VOID then return {0} end
  -- Neither held nor unconfirmed: a repeat, or a call that held nothing (free), or one whose reservation was lost.
  if not note and call('SISMEMBER', SETTLED, id) == 1 then return {0} end
end

local held, drawn, guards = {}, 0, ''
if record then
  local _
  held, drawn, _, _, guards = unpack_record(record)
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
if guards ~= '' then
  local scopes, breakers = few().limits, few().breakers
  local limits_corrected, circuits_told = guard_ends()
  local counted, generations = string.match(guards, '^([^;]*);(.*)$')
  local LIMITS = 8 + n + has_quota
  limits_corrected(scopes, LIMITS, numbers(counted), mode, guard and guard[1])
  circuits = circuits_told(breakers, LIMITS + #scopes, generations, id, clock(given), mode == SETTLE and guard)
end
if guard and guard[5] > 0 then
  helpers().pause_until(SWITCHES, few().pause, guard[5], clock(given))
end
local units = drawn
if mode == VOID then units = 0 elseif used >= 0 then units = used end
if quota and units ~= drawn then
  call('HINCRBY', quota, 'used', int(units - drawn))
  helpers().live_until(quota, few().keep_quota, clock(given))
end

local reply = {1, 0, 0, 0, 0, circuits}
local tight = nil
at = budgets_at
for i = 1, n do
  local key, limit, lowest, digits, currency = KEYS[8 + i]
  limit, lowest, digits, currency, at = parts('<ddBBc0', ARGV[2], at)
  local level = call('HMGET', key, 'spent', 'reserved', 'increase', 'crossed_limit')
  local spent, reserved, release = tonumber(level[1]) or 0, tonumber(level[2]) or 0, held[i] or 0
  local increase = level[3]
  if increase then limit = helpers().raised(limit, increase) end
  if release > reserved then release = reserved end
  local charge = (mode == VOID and 0 or bill[i]) - (charged[i] or 0)
  spent, reserved = spent + charge, reserved - release
  local spent_text = money(spent, digits, currency)
  if spent < EXACT and reserved < EXACT then
    call('HSET', key, 'spent', spent, 'reserved', reserved, 'spent_text', spent_text)
  else
    call('HINCRBY', key, 'spent', int(charge))
    call('HINCRBY', key, 'reserved', int(-release))
    call('HSET', key, 'spent_text', spent_text)
  end
  if not level[1] then
    helpers().live_until(key, few().budgets[i][3], clock(given))
  end
  -- What was crossed, was crossed under another limit: some of it may be open again.
  local moved = level[4] and tonumber(level[4]) ~= limit
  if charge > 0 and (increase or moved or spent >= lowest) then
    local name, period, _, limit_text, thresholds = unpack(few().budgets[i])
    local crossed, found = ',' .. (call('HGET', key, 'crossed') or '') .. ',', false
    for t = 1, #thresholds, 2 do
      local percent, amount = thresholds[t], thresholds[t + 1]
      if increase then amount = helpers().threshold(limit, math.floor(tonumber(percent) * 100 + 0.5)) end
      local from, to = string.find(crossed, ',' .. percent .. ',', 1, true)
      if from and moved and spent - charge < amount then
        crossed, found, from = string.sub(crossed, 1, from) .. string.sub(crossed, to + 1), true, nil
      end
      if spent < amount and not moved then break end
      if spent >= amount and not from then
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
if mode == VOID then return reply end
if #reply > 6 then call('EXPIRE', THRESHOLDS, 34560000) end

local admitted, api, rule, caller, method, path, model, currency, original_currency, fx_rate, fx_date, status, state,
  cost_text, original_cost, estimate, usage, terms, charges_text, remark, question =
  parts(string.rep('s', 21), ARGV[1], entry_at)
local who = api .. '|' .. rule .. '|' .. caller
local entry_id = call('XADD', LEDGER, '*', 'id', id, 'at', admitted, 'api', api, 'rule', rule, 'caller', caller, 'method',
  method, 'path', path, 'model', model, 'currency', currency, 'original_currency', original_currency, 'fx_rate', fx_rate,
  'fx_date', fx_date, 'status', status, 'state', state, 'cost', cost_text, 'original_cost', original_cost, 'estimate',
  estimate, 'usage', usage, 'terms', terms, 'budgets', charges_text, 'note', remark, 'question', question, unpack(more))
if note then
  call('XDEL', LEDGER, note[2])
  call('DEL', UNCONFIRMED)
else
  call('SADD', SETTLED, id)
  if call('HINCRBY', DAY, 'calls|' .. who, 1) == 1 then
    -- First of its kind today: the day's keys may be new, so give all of them their lifetime.
    local now, live_until = clock(given), helpers().live_until
    live_until(SETTLED, few().keep_settled, now)
    live_until(LEDGER, few().keep_ledger, now)
    live_until(DAY, few().keep_days, now)
  end
end
if mode == RECLAIM then
  local charges = {}
  for i = 1, n do charges[i] = int(bill[i]) end
  call('HSET', UNCONFIRMED, 'charged', table.concat(charges, ' '), 'entry', entry_id, 'cost', int(cost), 'units', int(units))
  call('EXPIRE', UNCONFIRMED, 604800)
end
if cost ~= cost_before then
  local rise = int(cost - cost_before)
  call('HINCRBY', DAY, 'cost|' .. who, rise)
  if call('ZINCRBY', CALLERS, rise, caller) == rise then helpers().live_until(CALLERS, few().keep_days, clock(given)) end
end
if mode == SETTLE and saved > 0 then
  call('HINCRBY', DAY, 'saved|' .. who, int(saved))
  if string.find(remark, 'cache_', 1, true) then call('HINCRBY', DAY, 'saved_cache|' .. who, int(saved)) end
end
for word in string.gmatch(remark, '%S+') do call('HINCRBY', DAY, 'note|' .. api .. '|' .. word, 1) end
if learns == 1 then
  call('LPUSH', LEARNED, int(cost))
  call('LTRIM', LEARNED, 0, 999)
  call('EXPIRE', LEARNED, 3456000)
end
return reply
