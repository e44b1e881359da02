-- extend: let a running call's reservation grow to a new total in every budget, if all of them have room.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3.. budgets (hash), as admitted
-- ARGV: 1 call id  2 now (Unix ms; "0" = Redis's TIME)  3 lease (ms)  4 "1" = essential
--       5.. n new totals (atoms)
--       then for each budget 3 values: limit (atoms), digits of an atom, currency
-- Returns {1, now, tightest budget (0 = none), its spent, its reserved}          grown (a smaller total changes nothing)
--         {0, now, code, budget, spent, reserved, its new total}                refused, as in admit
--         {-1, now}                                                             no such reservation
-- Invariants: spent + reserved <= limit in every budget that grew; all budgets grow or none; a refusal writes nothing.

local id, now, n = ARGV[1], clock(ARGV[2]), #KEYS - 2
local TOTALS, FIRST, WIDTH = 5, 5 + n, 3
local record = redis.call('HGET', KEYS[1], id)
if not record then return {-1, now} end
local held, units, position, facts = unpack_record(record)

local STOPPED, INSUFFICIENT, BUSY_503, BUSY_402 = 5, 3, 2, 1
local essential = ARGV[4] == '1'
local worst, worst_i, worst_level = 0, 0, nil
local tight, tight_i = nil, 0
local levels = {}
for i = 1, n do
  local at = FIRST + (i - 1) * WIDTH
  local level = redis.call('HMGET', KEYS[2 + i], 'spent', 'reserved')
  local spent, reserved = tonumber(level[1]) or 0, tonumber(level[2]) or 0
  local limit, total = tonumber(ARGV[at]), tonumber(ARGV[TOTALS + i - 1])
  local more = math.max(total - held[i], 0)
  local rank = 0
  if more > 0 and spent + reserved + more > limit then
    if spent + total > limit then rank = essential and STOPPED or INSUFFICIENT
    else rank = essential and BUSY_503 or BUSY_402 end
  end
  if rank > worst then worst, worst_i, worst_level = rank, i, {spent, reserved, total} end
  levels[i] = {spent, reserved + more, more}
  local left = limit - spent - reserved - more
  local room = total > 0 and left / total or left
  if tight == nil or room < tight then tight, tight_i = room, i end
end
if worst > 0 then return {0, now, worst, worst_i, worst_level[1], worst_level[2], worst_level[3]} end

local amounts = {}
for i = 1, n do
  local at, level = FIRST + (i - 1) * WIDTH, levels[i]
  amounts[i] = int(held[i] + level[3])
  if level[3] > 0 then
    redis.call('HINCRBY', KEYS[2 + i], 'reserved', int(level[3]))
    redis.call('HSET', KEYS[2 + i], 'reserved_text', money(level[2], ARGV[at + 1], ARGV[at + 2]))
  end
end
redis.call('HSET', KEYS[1], id, table.concat(amounts, ' ') .. '|' .. (units > 0 and int(units) or '') .. '|' .. position .. '|' .. facts)
redis.call('ZADD', KEYS[2], 'XX', int(now + tonumber(ARGV[3])), id)
if tight_i == 0 then return {1, now, 0, 0, 0} end
return {1, now, tight_i, levels[tight_i][1], levels[tight_i][2]}
