-- revive: try dead letters again, from the first attempt.
--
-- KEYS: 1 outbox (stream)  2 outbox:later (zset)  3 outbox:dead (stream)
-- ARGV: 1 now (Unix ms)  2 keep the outbox for (ms)  3.. entries of outbox:dead
-- Returns how many of them there were
-- Invariants: a letter is dead or put out, never both.

local count = 0
for i = 3, #ARGV do
  local found = redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i])
  if found[1] and redis.call('XDEL', KEYS[3], ARGV[i]) == 1 then
    local values = {}
    for j = 1, #found[1][2], 2 do values[found[1][2][j]] = found[1][2][j + 1] end
    put_out(KEYS[1], KEYS[2], ARGV[2], ARGV[1], {values.alert, values.channel, values.phase, '1', ARGV[1]})
    count = count + 1
  end
end
return count
