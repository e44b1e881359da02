-- lead: become the leader, stay it, or give it up. One holder at a time, by Redis's own clock.
--
-- KEYS: 1 leader (hash)
-- ARGV: 1 holder (unique to the process)  2 lease (ms; 0 = give it up)  3 now (Unix ms; 0 = Redis's TIME)
--       4 where it runs, for people  5 keep the key for (ms)
-- Returns {1, fencing token, until (ms)}            this holder leads
--         {0, fencing token, until (ms), holder}    somebody else does, or nobody after giving up
-- Invariants: the token grows with every change of holder, and never otherwise.

local now, lease = clock(tonumber(ARGV[3])), tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'holder', 'token', 'until')
local holder, token, ends = state[1], tonumber(state[2]) or 0, tonumber(state[3]) or 0
local mine = holder == ARGV[1]
if lease == 0 then
  if mine then redis.call('HSET', KEYS[1], 'until', int(now)) end
  return {0, token, mine and now or ends, holder or ''}
end
if not mine and ends > now then return {0, token, ends, holder} end
if not mine or ends <= now then
  -- A holder whose own lease ran out counts as a new one: what it decided before may be out of date.
  token = redis.call('HINCRBY', KEYS[1], 'token', 1)
  redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'place', ARGV[4], 'since', int(now))
end
redis.call('HSET', KEYS[1], 'until', int(now + lease))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {1, token, now + lease}
