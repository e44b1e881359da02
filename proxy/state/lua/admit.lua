-- admit: may this call be made? Decides over every switch, circuit breaker, rate limit and budget of the call, in this
-- order; then reserves in all of them. A refusal by one of them takes nothing from any other.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)  3 switches (hash)  4..3+n budgets (hash)
--       4+n quota counter (hash; only with a quota)  then limits (hashes), then breakers (hashes)
-- ARGV: 1 the call, packed: now (Unix ms; 0 = Redis's TIME), lease (ms), essential (1 | 0), free: holds nothing (1 | 0),
--           units drawn from the quota (thousandths; -1 = no quota), estimates (atoms, as many as the plan counts:
--           n, then those in the currencies of cost limits), and its id, up to the end
--       2 facts (JSON, for reclaim and for people)
--       3 what its plan says to every call, packed: from and until (ms): inside them all windows of the call (budgets,
--           quota, local day) are the current ones, n, how many estimates, guarded: there are limits or breakers
--           (1 | 0); each budget: limit, restrict and stop (atoms)
--       4 what it says to few, in MessagePack: keep_quota (until, ms); budgets: each {restrict, stop (basis points), keep
--           until (ms), limit as text, start and reset as ISO 8601, name, digits of an atom (6 | 9), currency};
--           switches: fields that this call obeys: bypass, stop, lift:all, lift:api:.., api:.., rule:.., caller:.., pause:.. (the API asked for a pause); limits: one
--           list for each hash, each {name, which amount (above 5: an estimate behind the n), most, bucket (ms; 0 = at
--           once), buckets}; breakers: each {probes}
--       5 only of a call that draws from a quota or is guarded, in MessagePack: {quota steps: each {first position,
--           estimates}, how many of the first steps cost nothing, amounts that limits count: requests, tokens, input,
--           output, calls at once; empty without limits}
-- Returns {1, now, quota position (-1 = none), step, bypassed (1 | 0), tightest budget (0 = none), its spent, its
--             reserved, its limit, used of each limit...}                   reserved
--         {0, now, code, budget, spent, reserved, its estimate, its limit}  refused; codes are those of the ranks below
--         {0, now, 6, which switch (1 stop  2 api  3 rule  4 caller), until (ms)}  refused: switched off
--         {0, now, 7, which limit (0 = the API's pause), used, asked, wait (ms; -1 = never), used of each limit...}
--         {0, now, 8, which breaker, 1 = half-open | 0 = open, wait (ms; -1 = until closed by hand)}
--         {-1, now}                                                         a window is over: compute it again
-- Limits in replies are those that hold: with what was added to them for this period.
-- Invariants: spent + reserved <= limit in every budget after a reservation that nobody bypassed; a refusal writes
-- nothing.

local given, lease, essential, free, units, at = parts('<ddBBd', ARGV[1])
local from_ms, until_ms, n, counted, guarded, budgets_at = parts('<ddHHB', ARGV[3])
local now = clock(given)
if now < from_ms or now >= until_ms then return {-1, now} end
local estimates = {parts('<' .. string.rep('d', counted), ARGV[1], at)}
local id = string.sub(ARGV[1], estimates[counted + 1])
estimates[counted + 1] = nil
local NONE = {} -- mostly there is none of it, and a table each would be made and collected for every call
local steps, free_steps, amounts = NONE, 0, NONE
if ARGV[5] then steps, free_steps, amounts = unpack(cmsgpack.unpack(ARGV[5])) end
local rest = nil
local function few() -- what the plan says to few
  rest = rest or cmsgpack.unpack(ARGV[4])
  return rest
end
local scopes, breakers = NONE, NONE
if guarded == 1 then scopes, breakers = few().limits, few().breakers end
local LIMITS = 3 + n + (units >= 0 and 1 or 0)
local BREAKERS = LIMITS + #scopes
essential, free = essential == 1, free == 1

-- 1. read -------------------------------------------------------------------------------------------------------
-- Mostly nothing is switched: then there is no such key. A key that is named twice counts twice: the leases are looked
-- for with the same question.
local there = call('EXISTS', KEYS[3], KEYS[2], KEYS[2])
local switched, first_lease = NONE, there < 2
local bypass, lift, pause, until_of = false, false, 0, nil
if there % 2 == 1 then
  until_of = helpers().until_of
  switched = call('HMGET', KEYS[3], unpack(few().switches))
  bypass, lift, pause = now < until_of(switched[1]), now < until_of(switched[3]), until_of(switched[8])
end
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
if #switched > 0 and not bypass then
  local which, off = helpers().switched_off(switched, now, costs)
  if which > 0 then return {0, now, 6, which, off} end
end

-- Circuit breakers: which generation the call belongs to, and whether it is a probe.
local circuits, PROBE_AGAIN = #breakers > 0 and {} or NONE, 1000
for b = 1, #breakers do
  local state, generation, opened_until, probing, passed =
    unpack(call('HMGET', KEYS[BREAKERS + b], 'state', 'generation', 'until', 'probing', 'passed'))
  local circuit = {generation or '0', false, ''}
  if state == 'open' and not bypass then
    local wait = tonumber(opened_until) - now
    if wait > 0 then return {0, now, 8, b, 0, opened_until == '9007199254740991' and -1 or wait} end
    circuit[2] = true
  elseif state == 'half_open' and not bypass then
    -- A permit is held as long as its call's lease: a probe whose proxy died does not block the next one.
    local out = tonumber(passed)
    for probe in string.gmatch(probing, '%S+') do
      local alive = call('ZSCORE', KEYS[2], probe)
      if alive and tonumber(alive) > now then out, circuit[3] = out + 1, circuit[3] .. ' ' .. probe end
    end
    if out >= breakers[b][1] then return {0, now, 8, b, 1, PROBE_AGAIN} end
    circuit[2] = true
  end
  circuits[b] = circuit
end

-- Rate limits: all of them or none.
local used, windows, pressed, worst_wait = NONE, NONE, nil, 0
local ROOM_AGAIN = 1000 -- when a call at once may have ended, nobody knows
local slide, wait_for
if #scopes > 0 then used, windows, slide, wait_for = {}, {}, sliding_windows() end
for s = 1, #scopes do
  local key, limits, fields, at = KEYS[LIMITS + s], scopes[s], {}, 1
  for l = 1, #limits do
    local name, _, _, width, buckets = unpack(limits[l])
    fields[#fields + 1] = name
    if width > 0 then
      fields[#fields + 1] = name .. '|at'
      fields[#fields + 1] = name .. '|' .. fmod(math.floor(now / width), buckets + 1)
    end
  end
  local values = call('HMGET', key, unpack(fields))
  local seen = {}
  for l = 1, #limits do
    local name, which, most, width, buckets = unpack(limits[l])
    local asked = which > 5 and estimates[first + n + which - 5] or amounts[which]
    local sum, index, running, old
    if width > 0 then
      sum, index, running, old = slide(key, name, width, buckets, now, {values[at], values[at + 1], values[at + 2]})
      at = at + 3
    else
      sum, at = tonumber(values[at]) or 0, at + 1
    end
    used[#used + 1], seen[l] = sum, {sum, index, running, old, asked}
    if sum + asked > most and asked > 0 and not bypass then
      local wait = ROOM_AGAIN
      if asked > most then wait = math.huge
      elseif width > 0 then wait = wait_for(key, name, width, buckets, now, index, sum + asked - most) end
      if wait > worst_wait then worst_wait, pressed = wait, {#used, sum, asked} end
    end
  end
  windows[s] = seen
end
if now < pause and not bypass and pause - now > worst_wait then worst_wait, pressed = pause - now, {0, 0, 0} end
if pressed then
  return {0, now, 7, pressed[1], pressed[2], pressed[3], worst_wait == math.huge and -1 or worst_wait, unpack(used)}
end

-- Does the line above which only essential calls pass hold for a budget?
local function restricts(i)
  return not lift and now >= helpers().until_of(call('HGET', KEYS[3], 'lift:budget:' .. few().budgets[i][7]))
end

-- Rank of a refusal, the highest wins, the first budget of equals: money that is gone beats money that is held.
local STOPPED, RESTRICTED, INSUFFICIENT, BUSY_503, BUSY_402 = 5, 4, 3, 2, 1
local worst, worst_i, worst_level = 0, 0, nil
local tight, tight_i = nil, 0
local levels = {}
at = budgets_at
for i = 1, n do
  local level = call('HMGET', KEYS[3 + i], 'spent', 'reserved', 'limit', 'increase')
  local spent, reserved = tonumber(level[1]) or 0, tonumber(level[2]) or 0
  local limit, restrict, stop
  limit, restrict, stop, at = parts('<ddd', ARGV[3], at)
  local estimate = estimates[first + i]
  local held, rank = spent + reserved, 0
  if level[4] then
    local shares, threshold = few().budgets[i], helpers().threshold
    limit = helpers().raised(limit, level[4])
    restrict, stop = threshold(limit, shares[1]), threshold(limit, shares[2])
  end
  if costs and not bypass then
    if not essential and held >= restrict and not restricts(i) then restrict = math.huge end
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
if free and guarded == 0 then return {1, now, -1, 0, bypassed, 0, 0, 0, 0} end
for s = 1, #scopes do
  local key, limits, fields, moved = KEYS[LIMITS + s], scopes[s], {}, false
  for l = 1, #limits do
    local name, width, buckets = limits[l][1], limits[l][4], limits[l][5]
    local sum, index, running, old, asked = unpack(windows[s][l])
    fields[#fields + 1], fields[#fields + 2] = name, int(sum + asked)
    if width > 0 then
      if #old > 0 then call('HDEL', key, unpack(old)) end
      -- Also of nothing: settlement may find that it was something, and needs this bucket.
      fields[#fields + 1], fields[#fields + 2] = name .. '|at', int(index)
      fields[#fields + 1], fields[#fields + 2] = name .. '|' .. fmod(index, buckets + 1), int(running + asked)
    end
    moved = moved or width == 0 or running == 0
  end
  call('HSET', key, unpack(fields))
  if moved then helpers().live_until(key, now + 172800000, now) end
end
local generations = #breakers > 0 and {} or NONE
for b = 1, #breakers do
  local generation, probe, probing = unpack(circuits[b])
  generations[b] = generation .. (probe and 'p' or '')
  if probe then
    local key = KEYS[BREAKERS + b]
    if call('HGET', key, 'state') == 'open' then call('HSET', key, 'state', 'half_open', 'passed', 0) end
    call('HSET', key, 'probing', probing .. ' ' .. id)
  end
end
local held = {}
for i = 1, n do
  local key, level, estimate = KEYS[3 + i], levels[i], estimates[first + i]
  local limit = level[4]
  held[i] = int(estimate)
  level[2] = level[2] + estimate
  if level[2] < EXACT then call('HSET', key, 'reserved', level[2]) else call('HINCRBY', key, 'reserved', held[i]) end
  if level[3] ~= limit then
    -- New period, or a limit changed in rules.yaml.
    local _, _, keep, limit_text, starts_at, resets_at, _, digits, currency = unpack(few().budgets[i])
    call('HSET', key, 'limit', int(limit), 'limit_text', limit_text, 'currency', currency,
      'unit', digits == 6 and '0.000001' or '0.000000001', 'starts_at', starts_at, 'resets_at', resets_at)
    call('HINCRBY', key, 'spent', 0)
    if level[1] == 0 then call('HSET', key, 'spent_text', '0 ' .. currency) end
    helpers().live_until(key, keep, now)
  end
end
if quota and call('HINCRBY', quota, 'used', int(units)) == units then
  call('HSET', quota, 'unit', '0.001')
  helpers().live_until(quota, few().keep_quota, now)
end
local drawn = quota and int(units) or ''
local marks, guards = bypass and 'bypass' or '', ''
if guarded == 1 then
  local taken = {int(now)}
  for which = 1, #amounts do taken[#taken + 1] = int(amounts[which]) end
  for cost = n + 1, #estimates - first do taken[#taken + 1] = int(estimates[first + cost]) end
  guards = table.concat(taken, ' ') .. ';' .. table.concat(generations, ' ')
end
call('HSET', KEYS[1], id, table.concat({table.concat(held, ' '), drawn, int(position), marks, guards, ARGV[2]}, '|'))
call('ZADD', KEYS[2], int(now + lease), id)
if first_lease then
  call('PEXPIRE', KEYS[1], 3456000000)
  call('PEXPIRE', KEYS[2], 3456000000)
end
local reply = {1, now, position, step, bypassed, 0, 0, 0, 0}
if tight_i > 0 then
  local tightest = levels[tight_i]
  reply[6], reply[7], reply[8], reply[9] = tight_i, tightest[1], tightest[2], tightest[4]
end
for s = 1, #scopes do
  for l = 1, #scopes[s] do reply[#reply + 1] = windows[s][l][1] + windows[s][l][5] end
end
return reply
