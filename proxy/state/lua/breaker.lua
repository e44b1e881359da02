-- breaker: opens, closes or resets a circuit by hand.
--
-- KEYS: 1 breaker (hash)
-- ARGV: 1 "open" (no traffic) | "close" (traffic flows; the window begins anew) | "reset" (forget everything)
--       2 now (Unix ms; "0" = Redis's TIME)  3 until (ms; 9007199254740991 = until closed by hand; only for "open")
--       4 who and why
-- Returns the state before: "closed" | "open" | "half_open"
-- Invariants: the generation grows, so that results of calls under way say nothing of what comes.

local key, what, now = KEYS[1], ARGV[1], clock(tonumber(ARGV[2]))
local state, generation = unpack(call('HMGET', key, 'state', 'generation'))
call('DEL', key)
call('HSET', key, 'state', what == 'open' and 'open' or 'closed', 'generation', (tonumber(generation) or 0) + 1,
  'changed', int(now), 'why', what == 'open' and 'by hand' or '', 'by', ARGV[4])
if what == 'open' then
  call('HSET', key, 'until', ARGV[3], 'passed', 0, 'probing', '')
  call('EXPIRE', key, 34560000)
else
  if what == 'reset' then call('HDEL', key, 'by', 'why') end
  live_until(key, now + 172800000, now)
end
return state or 'closed'
