-- resolve: what an alert told is over, once. Marks it in the history and puts that out for delivery.
--
-- KEYS: 1 leader (hash)  2 alerts:open (hash)  3 alert:<id> (hash)  4 outbox (stream)  5 outbox:later (zset)
-- ARGV: 1 fencing token  2 now (Unix ms)  3 key of the alert  4 id  5 when, as ISO 8601  6 keep for (ms)
--       then for each delivery: channel, due (Unix ms)
-- Returns 1 resolved, 0 it was not open under this id, {-9} a leader of the past
-- Invariants: an alert is resolved once.

if stale(KEYS[1], ARGV[1]) then return {-9} end
local key, id = ARGV[3], ARGV[4]
if redis.call('HGET', KEYS[2], 'open|' .. key) ~= id then return 0 end
redis.call('HDEL', KEYS[2], 'open|' .. key)
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HSET', KEYS[3], 'resolved_at', ARGV[5]) end
for i = 7, #ARGV, 2 do
  put_out(KEYS[4], KEYS[5], ARGV[6], ARGV[2], {id, ARGV[i], 'resolved', '1', ARGV[i + 1]})
end
return 1
