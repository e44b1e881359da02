-- cache_keep: keep an answer, and end the flight of the call that brought it.
--
-- KEYS: 1 kept answer (hash)  2 flight (string)  3 when the rule's answers end (zset, Unix ms)  4 their sizes (hash)
--       5 answers kept for the same address, by when they end (zset); only of those that cache_forget should find
-- ARGV: 1 the leader's token ("" = it leads no flight)  2 digest, the answer's name in 3 and 4
--       3 now (Unix ms; 0 = Redis's TIME)  4 how long it is kept (ms)  5 size (bytes)  6 most bytes of all answers
--       7 its name in KEYS[5]  8.. fields and values of the answer
-- Returns names of the answers that must go, for the caller to delete: their room is taken already
-- Invariants: the sizes in 4 are those of the names in 3, and "total" is their sum, at most ARGV[6]; what ends soonest
--             goes first.

local ANSWER, FLIGHT, ENDS, SIZES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, now, keep, most = ARGV[2], clock(tonumber(ARGV[3])), tonumber(ARGV[4]), tonumber(ARGV[6])

local function forget(other)
  local size = tonumber(call('HGET', SIZES, other)) or 0
  call('ZREM', ENDS, other)
  call('HDEL', SIZES, other)
  return call('HINCRBY', SIZES, 'total', int(-size))
end

forget(name)
for _, over in ipairs(call('ZRANGEBYSCORE', ENDS, '-inf', int(now), 'LIMIT', 0, 100)) do forget(over) end
local total = call('HINCRBY', SIZES, 'total', ARGV[5])
local gone = {}
while total > most do
  local soonest = call('ZRANGE', ENDS, 0, 0)[1]
  if not soonest then break end
  gone[#gone + 1] = soonest
  total = forget(soonest)
end
call('ZADD', ENDS, int(now + keep), name)
call('HSET', SIZES, name, ARGV[5])
if KEYS[5] then
  call('ZREMRANGEBYSCORE', KEYS[5], '-inf', int(now))
  call('ZADD', KEYS[5], int(now + keep), ARGV[7])
end
for i = 3, #KEYS do
  if call('PTTL', KEYS[i]) < keep + 86400000 then call('PEXPIRE', KEYS[i], int(keep + 86400000)) end
end
call('DEL', ANSWER)
call('HSET', ANSWER, unpack(ARGV, 8))
call('PEXPIRE', ANSWER, int(keep))
if ARGV[1] ~= '' and call('GET', FLIGHT) == ARGV[1] then call('DEL', FLIGHT) end
return gone
