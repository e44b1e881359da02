-- note: write one field of a hash, if the leader that wants it still leads.
--
-- KEYS: 1 the hash  2 leader (hash)
-- ARGV: 1 fencing token  2 field  3 value  4 keep the key for (ms)
-- Returns {1}
-- Invariants: a leader of the past writes nothing.

if stale(KEYS[2], ARGV[1]) then return {-9} end
call('HSET', KEYS[1], ARGV[2], ARGV[3])
call('PEXPIRE', KEYS[1], ARGV[4])
return {1}
