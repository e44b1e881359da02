-- raise: an alert begins, once. Enters the history, is open (if it can be resolved), and is put out for delivery.
--
-- KEYS: 1 leader (hash)  2 alerts:open (hash)  3 alerts:told (zset)  4 alerts (stream)  5 alert:<id> (hash)
--       6 outbox (stream)  7 outbox:later (zset)
-- ARGV: 1 fencing token ("" = not fenced)  2 now (Unix ms)  3 key of the alert  4 id  5 "1" = it can be resolved
--       6 keep the history for (ms)  7 field of alerts:open that keeps a position ("" = none)  8 the position
--       9 number m of the record's values, then m names and values in turn
--       then for each delivery: channel, due (Unix ms)
-- Returns 1 raised, 0 told before (the position is kept all the same), {-9} a leader of the past
-- Invariants: a key is told once; one delivery a channel enters the outbox with it or none does.

if stale(KEYS[1], ARGV[1]) then return {-9} end
local now, key, id, keep = ARGV[2], ARGV[3], ARGV[4], ARGV[6]
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[7], ARGV[8])
  redis.call('PEXPIRE', KEYS[2], keep)
end
if ARGV[5] == '1' then
  if redis.call('HSETNX', KEYS[2], 'open|' .. key, id) == 0 then return 0 end
  redis.call('PEXPIRE', KEYS[2], keep)
else
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(tonumber(now) - tonumber(keep)))
  if redis.call('ZADD', KEYS[3], 'NX', now, key) == 0 then return 0 end
  redis.call('PEXPIRE', KEYS[3], keep)
end
local m, values = tonumber(ARGV[9]), {}
for i = 1, 2 * m do values[i] = ARGV[9 + i] end
redis.call('HSET', KEYS[5], 'id', id, 'key', key, unpack(values))
redis.call('PEXPIRE', KEYS[5], keep)
redis.call('XADD', KEYS[4], 'MAXLEN', '~', '10000', '*', 'id', id)
redis.call('PEXPIRE', KEYS[4], keep)
for i = 10 + 2 * m, #ARGV, 2 do
  put_out(KEYS[6], KEYS[7], keep, now, {id, ARGV[i], 'raised', '1', ARGV[i + 1]})
end
return 1
