-- extend: let a running call's reservation grow to a new total in every budget, if all of them have room.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3 switches (hash)  4.. budgets (hash), as admitted
-- ARGV: 1 the call: {id, now (Unix ms; 0 = Redis's TIME), lease (ms), essential (1 | 0), n new totals (atoms)}
--       2 what its plan says: limits of n budgets (atoms)
-- Returns {1, now, tightest budget (0 = none), its spent, its reserved, its limit}  grown (a smaller total: no change)
--         {0, now, code, budget, spent, reserved, its new total, its limit}        refused, as in admit
--         {-1, now}                                                                no such reservation
-- Invariants: spent + reserved <= limit in every budget that grew, unless the call or the moment is bypassed; all
-- budgets grow or none; a refusal writes nothing.

local raised, until_of = helpers().raised, helpers().until_of
local id, given, lease, essential, totals = unpack(cmsgpack.unpack(ARGV[1]))
local budgets = cmsgpack.unpack(ARGV[2])
local now, n = clock(given), #budgets
essential = essential == 1
local record = call('HGET', KEYS[1], id)
if not record then return {-1, now} end
local held, units, position, marks, guarded, facts = unpack_record(record)
local bypass = marks == 'bypass' or now < until_of(call('HGET', KEYS[3], 'bypass'))

local STOPPED, INSUFFICIENT, BUSY_503, BUSY_402 = 5, 3, 2, 1
local worst, worst_i, worst_level = 0, 0, nil
local tight, tight_i = nil, 0
local levels = {}
for i = 1, n do
  local level = call('HMGET', KEYS[3 + i], 'spent', 'reserved', 'increase')
  local spent, reserved = tonumber(level[1]) or 0, tonumber(level[2]) or 0
  local limit, total = raised(budgets[i], level[3]), totals[i]
  local more = math.max(total - held[i], 0)
  local rank = 0
  if more > 0 and not bypass and spent + reserved + more > limit then
    if spent + total > limit then rank = essential and STOPPED or INSUFFICIENT
    else rank = essential and BUSY_503 or BUSY_402 end
  end
  if rank > worst then worst, worst_i, worst_level = rank, i, {spent, reserved, total, limit} end
  levels[i] = {spent, reserved + more, more, limit}
  local left = limit - spent - reserved - more
  local room = total > 0 and left / total or left
  if tight == nil or room < tight then tight, tight_i = room, i end
end
if worst > 0 then return {0, now, worst, worst_i, unpack(worst_level)} end

local amounts = {}
for i = 1, n do
  local level = levels[i]
  amounts[i] = int(held[i] + level[3])
  if level[3] > 0 then call('HINCRBY', KEYS[3 + i], 'reserved', int(level[3])) end
end
local drawn = units > 0 and int(units) or ''
call('HSET', KEYS[1], id, table.concat({table.concat(amounts, ' '), drawn, position, marks, guarded, string.sub(record, facts)}, '|'))
call('ZADD', KEYS[2], 'XX', int(now + lease), id)
if tight_i == 0 then return {1, now, 0, 0, 0, 0} end
return {1, now, tight_i, levels[tight_i][1], levels[tight_i][2], levels[tight_i][4]}
