-- admit: may this call be made? Decides over every budget on its chain, then reserves the estimate in all of them.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3..2+n budgets (hash)  3+n quota counter (hash; only with a quota)
-- ARGV: 1 call id  2 now (Unix ms; "0" = Redis's TIME)  3 lease (ms)  4 "1" = essential  5 n, number of budgets
--       6 units drawn from the quota (thousandths; "" = no quota)  7 number of quota steps  8 facts (JSON, for reclaim)
--       9.. without steps: n estimates (atoms); with steps: for each step its first position, n estimates
--       then from and until (ms): inside them all windows of the call (budgets, quota, local day) are the current ones
--       then keep until (ms): quota ("0" without one)
--       then for each budget 9 values: limit, restrict, stop (atoms), keep until (ms), digits of an atom ("6" | "9"),
--           currency, limit as text, start and reset as ISO 8601
-- Returns {1, now, quota position (-1 = none), step, tightest budget (0 = none), its spent, its reserved} reserved
--         {0, now, code, budget, spent, reserved, its estimate}   refused; codes are those of the ranks below
--         {-1, now}                                               a window is over: compute it again
-- Invariants: spent + reserved <= limit in every budget after a reservation; a refusal writes nothing.

local id, now, n = ARGV[1], clock(ARGV[2]), tonumber(ARGV[5])
local has_quota, steps = ARGV[6] ~= '', tonumber(ARGV[7])
local ESTIMATES, WIDTH = 9, 9
local BOUNDS = ESTIMATES + (steps > 0 and steps * (1 + n) or n)
local FIRST = BOUNDS + 3

-- 1. read -------------------------------------------------------------------------------------------------------
if now < tonumber(ARGV[BOUNDS]) or now >= tonumber(ARGV[BOUNDS + 1]) then return {-1, now} end
local position, quota = -1, nil
if has_quota then
  quota = KEYS[3 + n]
  position = tonumber(redis.call('HGET', quota, 'used')) or 0
end
local step, estimates = 0, ESTIMATES
if steps > 0 then
  -- The last step that the position has reached holds; the first one is for position 0.
  step = 1
  for s = 2, steps do
    if position >= tonumber(ARGV[ESTIMATES + (s - 1) * (1 + n)]) then step = s end
  end
  estimates = ESTIMATES + (step - 1) * (1 + n) + 1
end

-- 2. decide -----------------------------------------------------------------------------------------------------
-- Rank of a refusal, the highest wins, the first budget of equals: money that is gone beats money that is held.
local STOPPED, RESTRICTED, INSUFFICIENT, BUSY_503, BUSY_402 = 5, 4, 3, 2, 1
local essential = ARGV[4] == '1'
local worst, worst_i, worst_level = 0, 0, nil
local tight, tight_i = nil, 0
local levels = {}
for i = 1, n do
  local at = FIRST + (i - 1) * WIDTH
  local level = redis.call('HMGET', KEYS[2 + i], 'spent', 'reserved', 'limit')
  local spent, reserved = tonumber(level[1]) or 0, tonumber(level[2]) or 0
  local limit, restrict, stop = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local estimate = tonumber(ARGV[estimates + i - 1])
  local held, rank = spent + reserved, 0
  if steps > 0 and estimate == 0 then rank = 0 -- inside its free tier a call costs nothing, and passes at every level
  elseif spent >= stop or (essential and spent + estimate > limit) then rank = STOPPED
  elseif not essential and spent >= restrict then rank = RESTRICTED
  elseif not essential and spent + estimate > limit then rank = INSUFFICIENT
  elseif held >= stop then rank = BUSY_503
  elseif not essential and (held >= restrict or held + estimate > limit) then rank = BUSY_402
  elseif held + estimate > limit then rank = BUSY_503
  end
  if rank > worst then worst, worst_i, worst_level = rank, i, {spent, reserved, estimate} end
  levels[i] = {spent, reserved, level[3]}
  -- The tightest budget is the one with room for the fewest such calls: comparable across currencies.
  local left = limit - held - estimate
  local room = estimate > 0 and left / estimate or left
  if tight == nil or room < tight then tight, tight_i = room, i end
end
if worst > 0 then return {0, now, worst, worst_i, worst_level[1], worst_level[2], worst_level[3]} end

-- 3. write ------------------------------------------------------------------------------------------------------
local held = {}
for i = 1, n do
  local at, key, level = FIRST + (i - 1) * WIDTH, KEYS[2 + i], levels[i]
  local estimate = ARGV[estimates + i - 1]
  held[i] = estimate
  level[2] = level[2] + tonumber(estimate)
  redis.call('HINCRBY', key, 'reserved', estimate)
  redis.call('HSET', key, 'reserved_text', money(level[2], ARGV[at + 4], ARGV[at + 5]))
  if level[3] ~= ARGV[at] then
    -- New period, or a limit changed in rules.yaml.
    redis.call('HSET', key, 'limit', ARGV[at], 'limit_text', ARGV[at + 6], 'currency', ARGV[at + 5],
      'unit', ARGV[at + 4] == '6' and '0.000001' or '0.000000001', 'starts_at', ARGV[at + 7], 'resets_at', ARGV[at + 8])
    redis.call('HINCRBY', key, 'spent', 0)
    if level[1] == 0 then redis.call('HSET', key, 'spent_text', money(0, ARGV[at + 4], ARGV[at + 5])) end
    live_until(key, ARGV[at + 3], now)
  end
end
if has_quota and redis.call('HINCRBY', quota, 'used', ARGV[6]) == tonumber(ARGV[6]) then
  redis.call('HSET', quota, 'unit', '0.001')
  live_until(quota, ARGV[BOUNDS + 2], now)
end
redis.call('HSET', KEYS[1], id, table.concat(held, ' ') .. '|' .. ARGV[6] .. '|' .. int(position) .. '|' .. ARGV[8])
redis.call('ZADD', KEYS[2], int(now + tonumber(ARGV[3])), id)
if redis.call('ZCARD', KEYS[2]) == 1 then
  live_until(KEYS[1], now + 3456000000, now)
  live_until(KEYS[2], now + 3456000000, now)
end
if tight_i == 0 then return {1, now, position, step, 0, 0, 0} end
return {1, now, position, step, tight_i, levels[tight_i][1], levels[tight_i][2]}
