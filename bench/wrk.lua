-- wrk script: POST chat requests; prints one JSON line with the figures of the run.
-- The body comes from the file named by BENCH_BODY, the key from BENCH_KEY. Units: microseconds, requests.
-- No request is sent twice in a row: 61 bodies of different text and length take turns, as those of real programs do.
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
local body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY")

local requests, turn = {}, 0

init = function()
  for i = 1, 61 do
    local order = tostring(20419 + i * i * 977)
    local more = string.rep(" Please look at order " .. order .. " too.", i % 4)
    local text, changed = body:gsub("wait for another week%.", "wait for " .. i .. " more days." .. more)
    assert(changed == 1, "the body is not the one that this script varies")
    requests[i] = wrk.format(nil, nil, nil, (text:gsub("order 20419", "order " .. order)))
  end
end

request = function()
  turn = turn % #requests + 1
  return requests[turn]
end

done = function(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"max_us":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
