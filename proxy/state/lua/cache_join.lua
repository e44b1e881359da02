-- cache_join: of all identical calls, which one asks the API? The first one leads; the others learn whom to wait for.
--
-- KEYS: 1 flight (string: the leader's token, or "over:" and the token of a leader whose answer is not kept)
--       2 kept answer (hash)
-- ARGV: 1 token of this call  2 lease (ms)  3 `stored` of the kept answer that this call has seen ("" = none)
-- Returns {1} it leads   {2, token} another one does   {3} meanwhile another answer was kept: look again
-- Invariants: one leader at a time for as long as it renews its lease; a flight without a leader ends by itself.

local stored = call('HGET', KEYS[2], 'stored')
if stored and stored ~= ARGV[3] then return {3} end
local leader = call('GET', KEYS[1])
if leader and string.sub(leader, 1, 5) ~= 'over:' then return {2, leader} end
call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1}
