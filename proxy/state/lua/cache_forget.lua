-- cache_forget: kept answers are not true any more, because something was done at their address (RFC 9111 §4.4).
--
-- KEYS: 1 answers kept for the address (zset)  2 when the rule's answers end (zset)  3 their sizes (hash)
--       4.. kept answers (hash) of one rule
-- ARGV: for each of them its name in 2 and 3, and its name in 1
-- Returns how many there were
-- Invariants: those of cache_keep.

local INDEX, ENDS, SIZES = KEYS[1], KEYS[2], KEYS[3]
local gone = 0
for i = 4, #KEYS do
  local name, member = ARGV[2 * i - 7], ARGV[2 * i - 6]
  local size = tonumber(call('HGET', SIZES, name)) or 0
  call('ZREM', ENDS, name)
  call('HDEL', SIZES, name)
  if size > 0 then call('HINCRBY', SIZES, 'total', int(-size)) end
  call('ZREM', INDEX, member)
  gone = gone + call('DEL', KEYS[i])
end
return gone
