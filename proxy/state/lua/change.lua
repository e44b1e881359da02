-- change: do something and write it into the audit trail, both or neither.
--
-- KEYS: 1 audit (stream)  2 audit:head (hash)  3 leader (hash)  4.. keys that are changed (hashes; streams for "append")
-- ARGV: 1 fencing token ("" = a person's doing)  2 hash of the last entry as the caller knows it ("" = none yet)
--       3 MessagePack: {number of the new entry, its hash, keep the trail for (ms),
--           its fields: {field, value, field, value, ...},
--           changes: each {which key (4 = the first), field, guard (false = none, else the value it must have now, "" =
--               absent), kind ("set" | "del" | "add" | "append"), value, keep the key for (ms), digits of an atom, currency}}
-- Returns {1}                                done
--         {0}                                somebody wrote another entry meanwhile: read the head again
--         {2, which change, value now}       a guard does not hold: nothing was done
-- Invariants: entries are numbered 1, 2, 3 ... (their stream ids are "<number>-0"), each with the hash of the one before.

if stale(KEYS[3], ARGV[1]) then return {-9} end
local number, hash, keep, fields, changes = unpack(cmsgpack.unpack(ARGV[3]))
if (call('HGET', KEYS[2], 'hash') or '') ~= ARGV[2] then return {0} end
for i, change in ipairs(changes) do
  local guard = change[3]
  if guard then
    local now = call('HGET', KEYS[change[1]], change[2]) or ''
    if now ~= guard then return {2, i, now} end
  end
end

for _, change in ipairs(changes) do
  local key, field, kind, value = KEYS[change[1]], change[2], change[4], change[5]
  if kind == 'set' then
    call('HSET', key, field, value)
  elseif kind == 'del' then
    call('HDEL', key, field)
  elseif kind == 'append' then
    call('XADD', key, 'MAXLEN', '~', '10000', '*', field, value)
  else
    local total = call('HINCRBY', key, field, value)
    if total == 0 then
      call('HDEL', key, field, field .. '_text')
    else
      call('HSET', key, field .. '_text', money(total, change[7], change[8]))
    end
  end
  if call('PTTL', key) < tonumber(change[6]) then call('PEXPIRE', key, change[6]) end
end
call('XADD', KEYS[1], int(number) .. '-0', unpack(fields))
call('HSET', KEYS[2], 'count', int(number), 'hash', hash)
call('PEXPIRE', KEYS[1], keep)
call('PEXPIRE', KEYS[2], keep)
return {1}
