-- due: put out the deliveries whose time has come.
--
-- KEYS: 1 leader (hash)  2 outbox (stream)  3 outbox:later (zset)
-- ARGV: 1 fencing token  2 now (Unix ms)  3 how many at most  4 keep the outbox for (ms)
-- Returns how many, {-9} a leader of the past
-- Invariants: a delivery is in the outbox or waits for later, never both and never neither.

if stale(KEYS[1], ARGV[1]) then return {-9} end
local waiting = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
for _, packed in ipairs(waiting) do
  redis.call('ZREM', KEYS[3], packed)
  put_out(KEYS[2], KEYS[3], ARGV[4], ARGV[2], unpack_delivery(packed))
end
return #waiting
