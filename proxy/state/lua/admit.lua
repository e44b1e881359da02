-- admit: may this call be made? Decides over every switch and every budget on its chain, then reserves the estimate.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3 switches (hash)  4..3+n budgets (hash)
--       4+n quota counter (hash; only with a quota)
-- ARGV: 1 the call: {id, now (Unix ms; 0 = Redis's TIME), lease (ms), essential (1 | 0), free: holds nothing (1 | 0),
--           units drawn from the quota (thousandths; -1 = no quota), n estimates (atoms; without quota steps),
--           quota steps: each {first position, n estimates}, how many of the first steps cost nothing}
--       2 facts (JSON, for reclaim and for people)
--       3 what its plan says: {from and until (ms): inside them all windows of the call (budgets, quota, local day) are
--           the current ones, keep the quota until (ms), n budgets: each {limit (atoms), restrict, stop (basis points),
--           keep until (ms), digits of an atom (6 | 9), currency, limit as text, start and reset as ISO 8601, name},
--           fields of `switches` that this call obeys: bypass, stop, lift:all, lift:api:.., api:.., rule:.., caller:..}
-- Returns {1, now, quota position (-1 = none), step, bypassed (1 | 0), tightest budget (0 = none), its spent, its
--             reserved, its limit}                                          reserved
--         {0, now, code, budget, spent, reserved, its estimate, its limit}  refused; codes are those of the ranks below
--         {0, now, 6, which switch (1 stop  2 api  3 rule  4 caller), until (ms)}  refused: switched off
--         {-1, now}                                                         a window is over: compute it again
-- Limits in replies are those that hold: with what was added to them for this period.
-- Invariants: spent + reserved <= limit in every budget after a reservation that nobody bypassed; a refusal writes
-- nothing.

local id, given, lease, essential, free, units, estimates, steps, free_steps = unpack(cmsgpack.unpack(ARGV[1]))
local from_ms, until_ms, keep_quota, budgets, switches = unpack(cmsgpack.unpack(ARGV[3]))
local now, n = clock(given), #budgets
essential, free = essential == 1, free == 1

-- 1. read -------------------------------------------------------------------------------------------------------
if now < from_ms or now >= until_ms then return {-1, now} end
local switched = call('HMGET', KEYS[3], unpack(switches))
local bypass, lift = now < until_of(switched[1]), now < until_of(switched[3])
local position, quota = -1, nil
if units >= 0 then
  quota = KEYS[4 + n]
  position = tonumber(call('HGET', quota, 'used')) or 0
end
local step, first = 0, 0
if #steps > 0 then
  -- The last step that the position has reached holds; the first one is for position 0.
  step = 1
  for s = 2, #steps do
    if position >= steps[s][1] then step = s end
  end
  estimates, first = steps[step], 1
end
-- A free call, and one inside its free tier, costs nothing and passes at every level.
local costs = not free and (step == 0 or step > free_steps)

-- 2. decide -----------------------------------------------------------------------------------------------------
if not bypass then
  for which = 1, 4 do
    local off = until_of(switched[which == 1 and 2 or 3 + which])
    if now < off and (which > 1 or costs) and not (which == 2 and (lift or now < until_of(switched[4]))) then
      return {0, now, 6, which, off}
    end
  end
end

-- Does the line above which only essential calls pass hold for a budget?
local function restricts(name) return not lift and now >= until_of(call('HGET', KEYS[3], 'lift:budget:' .. name)) end

-- Rank of a refusal, the highest wins, the first budget of equals: money that is gone beats money that is held.
local STOPPED, RESTRICTED, INSUFFICIENT, BUSY_503, BUSY_402 = 5, 4, 3, 2, 1
local worst, worst_i, worst_level = 0, 0, nil
local tight, tight_i = nil, 0
local levels = {}
for i = 1, n do
  local budget, level = budgets[i], call('HMGET', KEYS[3 + i], 'spent', 'reserved', 'limit', 'increase')
  local spent, reserved = tonumber(level[1]) or 0, tonumber(level[2]) or 0
  local limit, estimate = raised(budget[1], level[4]), estimates[first + i]
  local held, rank = spent + reserved, 0
  if costs and not bypass then
    local restrict, stop = threshold(limit, budget[2]), threshold(limit, budget[3])
    if not essential and held >= restrict and not restricts(budget[10]) then restrict = math.huge end
    if spent >= stop or (essential and spent + estimate > limit) then rank = STOPPED
    elseif not essential and spent >= restrict then rank = RESTRICTED
    elseif not essential and spent + estimate > limit then rank = INSUFFICIENT
    elseif held >= stop then rank = BUSY_503
    elseif not essential and (held >= restrict or held + estimate > limit) then rank = BUSY_402
    elseif held + estimate > limit then rank = BUSY_503
    end
  end
  if rank > worst then worst, worst_i, worst_level = rank, i, {spent, reserved, estimate, limit} end
  levels[i] = {spent, reserved, tonumber(level[3]), limit}
  -- The tightest budget is the one with room for the fewest such calls: comparable across currencies.
  local left = limit - held - estimate
  local room = estimate > 0 and left / estimate or left
  if tight == nil or room < tight then tight, tight_i = room, i end
end
if worst > 0 then return {0, now, worst, worst_i, unpack(worst_level)} end

-- 3. write ------------------------------------------------------------------------------------------------------
local bypassed = bypass and 1 or 0
if free then return {1, now, -1, 0, bypassed, 0, 0, 0, 0} end
local held = {}
for i = 1, n do
  local key, level, estimate = KEYS[3 + i], levels[i], estimates[first + i]
  local limit, _, _, keep, digits, currency, limit_text, starts_at, resets_at = unpack(budgets[i])
  held[i] = int(estimate)
  level[2] = level[2] + estimate
  if level[2] < EXACT then
    call('HSET', key, 'reserved', level[2], 'reserved_text', money(level[2], digits, currency))
  else
    call('HINCRBY', key, 'reserved', held[i])
    call('HSET', key, 'reserved_text', money(level[2], digits, currency))
  end
  if level[3] ~= limit then
    -- New period, or a limit changed in rules.yaml.
    call('HSET', key, 'limit', int(limit), 'limit_text', limit_text, 'currency', currency,
      'unit', digits == 6 and '0.000001' or '0.000000001', 'starts_at', starts_at, 'resets_at', resets_at)
    call('HINCRBY', key, 'spent', 0)
    if level[1] == 0 then call('HSET', key, 'spent_text', money(0, digits, currency)) end
    live_until(key, keep, now)
  end
end
if quota and call('HINCRBY', quota, 'used', int(units)) == units then
  call('HSET', quota, 'unit', '0.001')
  live_until(quota, keep_quota, now)
end
local drawn = quota and int(units) or ''
local marks = bypass and 'bypass' or ''
call('HSET', KEYS[1], id, table.concat({table.concat(held, ' '), drawn, int(position), marks, ARGV[2]}, '|'))
call('ZADD', KEYS[2], int(now + lease), id)
if call('ZCARD', KEYS[2]) == 1 then
  live_until(KEYS[1], now + 3456000000, now)
  live_until(KEYS[2], now + 3456000000, now)
end
if tight_i == 0 then return {1, now, position, step, bypassed, 0, 0, 0, 0} end
local tightest = levels[tight_i]
return {1, now, position, step, bypassed, tight_i, tightest[1], tightest[2], tightest[4]}
