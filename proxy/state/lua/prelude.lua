-- Shared by every script: put before its text when it is loaded. Amounts are atoms: integers below 2^53.

-- Unix milliseconds by Redis's own clock; a test gives its own instead ("0" = none).
local function clock(given)
  if given ~= '0' then return tonumber(given) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- An integer in full: tostring() would lose digits.
local function int(n) return string.format('%.0f', n) end

-- Atoms as people read them: money(1500250000, 6, 'KRW') -> "1500.25 KRW". Exact: no quotient is rounded.
local function money(atoms, digits, currency)
  local sign = ''
  if atoms < 0 then sign, atoms = '-', -atoms end
  local unit = digits == '6' and 1000000 or 1000000000
  local part = math.fmod(atoms, unit)
  if part == 0 then return string.format('%s%.0f %s', sign, atoms / unit, currency) end
  local decimals = string.gsub(string.format('%0' .. digits .. '.0f', part), '0+$', '')
  return string.format('%s%.0f.%s %s', sign, (atoms - part) / unit, decimals, currency)
end

-- Lets a key live until `until_ms`, at least a day: relative, because the clock may be a test's.
local function live_until(key, until_ms, now)
  redis.call('PEXPIRE', key, int(math.max(tonumber(until_ms) - now, 86400000)))
end

-- "5 7|1000|0|{...}" -> {5, 7}, 1000, "0", '{...}': what a reservation holds of each budget and of its quota.
local function unpack_record(record)
  local amounts, units, position, facts = string.match(record, '^([^|]*)|([^|]*)|([^|]*)|(.*)$')
  local held = {}
  for amount in string.gmatch(amounts, '%d+') do held[#held + 1] = tonumber(amount) end
  return held, tonumber(units) or 0, position, facts
end

