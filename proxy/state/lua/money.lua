-- Atoms as people read them: money(1500250000, 6, 'KRW') -> "1500.25 KRW". Exact: no quotient is rounded.
local function money(atoms, digits, currency)
  if atoms < 0 then return '-' .. money(-atoms, digits, currency) end
  local unit = digits == 6 and 1000000 or 1000000000
  local part = atoms % unit
  if part < 0 then part = part + unit end -- the quotient was rounded up
  if part == 0 then return format('%d %s', atoms / unit, currency) end
  local whole = (atoms - part) / unit
  while part % 10 == 0 do part, digits = part / 10, digits - 1 end
  return format('%d.%0' .. digits .. 'd %s', whole, part, currency)
end

