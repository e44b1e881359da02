-- delivered: what became of one delivery: it arrived, it is tried again, or it is given up.
--
-- Not fenced: a leader that was replaced meanwhile may have delivered it all the same. Whoever acknowledges first counts.
--
-- KEYS: 1 outbox (stream)  2 outbox:later (zset)  3 outbox:dead (stream)  4 alert:<id> (hash)
-- ARGV: 1 consumer group  2 entry of the outbox  3 "sent" | "later" | "dead" | "dropped"  4 alert's id  5 channel
--       6 "raised" | "resolved"  7 number of the next attempt  8 due (Unix ms; later)  9 state for the history (JSON)
--       10 keep for (ms)  11 now as ISO 8601  12 error (dead)
-- Returns 1 noted, 0 somebody else did
-- Invariants: a delivery that did not arrive is never lost: it waits for later or is dead.

if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
if ARGV[3] == 'later' then
  local packed = pack_delivery({ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]})
  redis.call('ZADD', KEYS[2], ARGV[8], packed)
  redis.call('PEXPIRE', KEYS[2], ARGV[10])
elseif ARGV[3] == 'dead' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', '1000', '*', 'alert', ARGV[4], 'channel', ARGV[5], 'phase', ARGV[6],
    'attempts', ARGV[7], 'at', ARGV[11], 'error', ARGV[12])
  redis.call('PEXPIRE', KEYS[3], ARGV[10])
end
if redis.call('EXISTS', KEYS[4]) == 1 then redis.call('HSET', KEYS[4], 'delivery|' .. ARGV[5] .. '|' .. ARGV[6], ARGV[9]) end
return 1
