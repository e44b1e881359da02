local function numbers(text)
  local list = {}
  for word in string.gmatch(text, '%d+') do list[#list + 1] = tonumber(word) end
  return list
end

-- "5 7|1000|0|bypass|1764126000000 1 84 20 64 1;3 4p|{...}" -> {5, 7}, 1000, "0", "bypass", "1764...", 45: what a
-- reservation holds of each budget and of its quota, how it was admitted, what it holds of limits and breakers (when,
-- each amount; each breaker's generation, p = probe), and where in the record stands what the call is.
local function unpack_record(record)
  local amounts, units, position, marks, guarded, facts =
    string.match(record, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|()')
  return numbers(amounts), tonumber(units) or 0, position, marks, guarded, facts
end

