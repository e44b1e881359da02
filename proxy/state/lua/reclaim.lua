-- reclaim: which reservations has nobody renewed? Reads them; settle (mode "reclaim") then charges each, once.
--
-- KEYS: 1 reservations (hash)  2 leases (zset)
-- ARGV: 1 now (Unix ms; "0" = Redis's TIME)  2 how many at most
-- Returns {now, id, record, id, record, ...}
-- Invariants: changes no counter; a lease without its reservation is dropped; refreshes both keys' lifetime.

local now = clock(tonumber(ARGV[1]))
local reply = {now}
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[2], '-inf', int(now), 'LIMIT', 0, ARGV[2])) do
  local record = call('HGET', KEYS[1], id)
  if record then
    reply[#reply + 1], reply[#reply + 2] = id, record
  else
    call('ZREM', KEYS[2], id)
  end
end
call('EXPIRE', KEYS[1], 3456000)
call('EXPIRE', KEYS[2], 3456000)
return reply
