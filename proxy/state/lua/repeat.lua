-- repeat: may a call that failed be made again? Takes one repeat out of its API's budget, if nothing speaks against it.
--
-- KEYS: 1 switches (hash)  2 the API's repeats (hash: tokens, in thousandths of a repeat; at, Unix ms)
--       3.. circuit breakers of the call (hash)
-- ARGV: 1 {now (Unix ms; 0 = Redis's TIME), fields of `switches` as in admit without the pause, does it cost money (1 | 0),
--          field of the API's pause, the API asked for a pause until (ms; 0 = not),
--          what the calls of this worker have earned since it last asked (thousandths), how much comes back in a window
--          without calls, most that can be saved up (thousandths), window (ms)}
-- Returns {1, left}  yes
--         {0, 1}  the budget is used up   {0, 2}  switched off   {0, 3}  a circuit is not closed: a probe has one attempt
-- Invariants: repeats of all workers <= what their calls earned + what came back; a refusal takes nothing.

local WHOLE = 1000
local live_until, pause_until = helpers().live_until, helpers().pause_until
local until_of, switched_off = helpers().until_of, helpers().switched_off
local given, switches, costs, pausing, pause_ms, earned, back, most, window = unpack(cmsgpack.unpack(ARGV[1]))
local now = clock(given)

-- 1. read -------------------------------------------------------------------------------------------------------
local switched = call('HMGET', KEYS[1], unpack(switches))
local tokens, at = unpack(call('HMGET', KEYS[2], 'tokens', 'at'))
tokens, at = tonumber(tokens) or back, tonumber(at) or now
if now < at then now = at end
if tokens >= back then
  at = now
else
  -- Whole thousandths; the time of the rest stays where it is, and grows.
  local come = math.floor(back * (now - at) / window)
  if tokens + come >= back then tokens, at = back, now
  else tokens, at = tokens + come, math.min(now, at + math.ceil(come * window / back)) end
end
tokens = math.min(most, tokens + earned)

-- 2. decide -----------------------------------------------------------------------------------------------------
local why = tokens < WHOLE and 1 or 0
if now >= until_of(switched[1]) then
  if switched_off(switched, now, costs == 1) > 0 then why = 2 end
  for b = 3, #KEYS do
    if (call('HGET', KEYS[b], 'state') or 'closed') ~= 'closed' then why = 3 end
  end
end
if why == 0 then tokens = tokens - WHOLE end

-- 3. write ------------------------------------------------------------------------------------------------------
call('HSET', KEYS[2], 'tokens', int(tokens), 'at', int(at))
live_until(KEYS[2], now, now)
pause_until(KEYS[1], pausing, pause_ms, now)
if why > 0 then return {0, why} end
return {1, tokens}
