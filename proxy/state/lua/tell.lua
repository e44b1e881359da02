-- tell: how a long call began, while it still runs. Only probes say it: their permit is needed by others, and who knows
-- how far away the end is. That end is then an ordinary result of the same generation.
--
-- KEYS: 1 reservations (hash)  2.. circuit breakers of the call (hash)
-- ARGV: 1 {id, now (Unix ms; 0 = Redis's TIME), result (1 = worked  2 = failed), ms until it began, chance (0 to 1000)}
--       2 breakers, as in settle
-- Returns {1, circuits changed, as in settle}  {0}: no such reservation, or no probe
-- Invariants: a probe tells once; nothing else of the reservation changes.

local id, given, result, took, chance = unpack(cmsgpack.unpack(ARGV[1]))
local record = call('HGET', KEYS[1], id)
if not record then return {0} end
local head, counted, generations, facts = string.match(record, '^([^|]*|[^|]*|[^|]*|[^|]*|)([^;|]*);([^|]*)(|.*)$')
if not head or not string.find(generations, 'p', 1, true) then return {0} end
-- No generation is called 00: for circuits of which this is no probe, nothing is said.
local said = string.gsub(generations, '(%d+)(p?)', function(number, probe) return probe == 'p' and number .. 'p' or '00' end)
local _, circuits_told = guard_ends()
local changes = circuits_told(cmsgpack.unpack(ARGV[2]), 1, said, id, clock(given), {false, result, took, chance, 0})
call('HSET', KEYS[1], id, head .. counted .. ';' .. string.gsub(generations, 'p', '') .. facts)
return {1, changes}
