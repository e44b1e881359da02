-- cache_end: a leader says how its flight goes on. Of somebody else's flight nothing changes.
--
-- KEYS: 1 flight (string)
-- ARGV: 1 the leader's token  2 "renew" | "over" (the answer is not kept: everybody asks for itself) | "free" (there is no
--       answer: another one may lead)  3 lease of the flight, or of the word that it is over (ms)
-- Returns 1 done, 0 the flight is not (or no longer) this leader's

if call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == 'renew' then call('PEXPIRE', KEYS[1], ARGV[3])
elseif ARGV[2] == 'over' then call('SET', KEYS[1], 'over:' .. ARGV[1], 'PX', ARGV[3])
else call('DEL', KEYS[1]) end
return 1
