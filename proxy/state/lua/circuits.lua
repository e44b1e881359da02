-- circuits: what the end of a call means for rate limits and circuit breakers. Put between the prelude and settle.
--
-- A breaker's hash: `state` (closed: traffic flows, open: none, half_open: a few probes), `generation` (+1 at each opening
-- and closing; results of calls of another one say nothing), `until` (when the next probe may go, ms), `openings` in a row,
-- `why`, `changed` (ms), `probing` (ids of probes under way), `passed` (probes that succeeded); and of the window, which
-- slides as those of limits do: `calls`, `failures`, `slow`, `consecutive`, `at`, `bucket|<n>` ("calls failures slow").

local SETTLE, VOID, RECLAIM = 1, 2, 3 -- how a call ends: see settle

-- In one function, because most calls have none of it: only they pay for its parts.
local function guard_ends()
  local live_until = helpers().live_until

  -- Corrects what a call took from limits: in the bucket of its admission, as far as that is still counted. counted: when,
  -- then each amount as admitted. A call that was never made gives everything back; one whose proxy died only its place
  -- among the calls at once.
  local function limits_corrected(scopes, first, counted, mode, actual)
    for s = 1, #scopes do
      local key = KEYS[first + s]
      for _, limit in ipairs(scopes[s]) do
        local name, which, _, width, buckets = unpack(limit)
        local was = counted[1 + which] or 0
        local is = was
        if which == 5 or mode == VOID then is = 0 elseif mode == SETTLE and actual then is = actual[which] or was end
        if is ~= was then
          local sum = tonumber(call('HGET', key, name)) or 0
          if width == 0 then
            if sum > 0 then call('HINCRBY', key, name, -1) end
          else
            local bucket, at = math.floor(counted[1] / width), tonumber(call('HGET', key, name .. '|at'))
            if at and bucket <= at and at - bucket <= buckets then
              call('HINCRBY', key, name, int(math.max(is - was, -sum)))
              call('HINCRBY', key, name .. '|' .. fmod(bucket, buckets + 1), int(is - was))
            end
          end
        end
      end
    end
  end

  local BUCKETS, KEPT = 20, 172800000

  -- Opens a circuit for a while that is longer each time and never quite the same.
  local function open(key, breaker, generation, openings, why, now, chance)
    local first, most = breaker[9], breaker[10]
    local lasts = math.min(first * 2 ^ math.min(openings, 30), most)
    lasts = math.floor(lasts * (1 + chance / 5000))
    local slots = {}
    for slot = 0, BUCKETS do slots[#slots + 1] = 'bucket|' .. slot end
    call('HDEL', key, 'at', 'calls', 'failures', 'slow', 'consecutive', 'probing', unpack(slots))
    call('HSET', key, 'state', 'open', 'generation', generation + 1, 'openings', openings + 1, 'why', why, 'passed', 0,
      'probing', '', 'changed', int(now), 'until', int(now + lasts))
    live_until(key, now + lasts + KEPT, now)
  end

  local function close(key, generation, now)
    call('DEL', key)
    call('HSET', key, 'state', 'closed', 'generation', generation + 1, 'changed', int(now))
    live_until(key, now + KEPT, now)
  end

  -- A closed circuit counts a call, and opens when that is one too many. Returns why it opened, or nil.
  local function count(key, breaker, result, slow, now)
    local _, width, buckets, least, failures_bp, consecutive_most, _, slow_bp = unpack(breaker)
    local index, ring = math.floor(now / width), buckets + 1
    local at, calls, failures, slows, consecutive =
      unpack(call('HMGET', key, 'at', 'calls', 'failures', 'slow', 'consecutive'))
    at, calls, failures = tonumber(at) or index, tonumber(calls) or 0, tonumber(failures) or 0
    slows, consecutive = tonumber(slows) or 0, tonumber(consecutive) or 0
    if at > index then index = at end
    if index > at then
      local old = {}
      for i = math.max(at + 1, index - buckets), index do old[#old + 1] = 'bucket|' .. fmod(i, ring) end
      if index - at > buckets then
        calls, failures, slows = 0, 0, 0
      else
        for _, bucket in ipairs(call('HMGET', key, unpack(old))) do
          local gone = numbers(bucket or '0 0 0')
          calls, failures, slows = calls - gone[1], failures - gone[2], slows - gone[3]
        end
      end
      call('HDEL', key, unpack(old))
      live_until(key, now + KEPT, now)
    elseif calls == 0 then
      live_until(key, now + KEPT, now)
    end
    local slot = 'bucket|' .. fmod(index, ring)
    local bucket = numbers(call('HGET', key, slot) or '0 0 0')
    local failed, slowed = result == 2 and 1 or 0, slow and 1 or 0
    calls, failures, slows = calls + 1, failures + failed, slows + slowed
    consecutive = failed == 1 and consecutive + 1 or 0
    call('HSET', key, 'state', 'closed', 'at', int(index), 'calls', int(calls), 'failures', int(failures), 'slow',
      int(slows), 'consecutive', int(consecutive), slot,
      format('%d %d %d', bucket[1] + 1, bucket[2] + failed, bucket[3] + slowed))
    if consecutive_most > 0 and consecutive >= consecutive_most then return 'consecutive' end
    if calls < least then return nil end
    if failed == 1 and failures_bp > 0 and failures * 10000 >= calls * failures_bp then return 'failures' end
    if slow and slow_bp > 0 and slows * 10000 >= calls * slow_bp then return 'slow' end
  end

  -- Tells every circuit of a call how it went, attempt by attempt. A result of an older generation says nothing any more:
  -- nor do the attempts behind the one that opened the circuit. A probe is one question, and fails with any attempt.
  -- guard: see settle; false = nothing can be said of the API. Returns the changes as text.
  local function circuits_told(breakers, first, generations, id, now, guard)
    local attempts, chance, result = {}, 0, 0
    if guard then
      attempts, chance, result = guard[6] or {}, guard[4], guard[2]
      attempts[#attempts + 1] = {guard[2], guard[3]}
    end
    local changes, b = '', 0
    for generation, probe in string.gmatch(generations, '(%d+)(p?)') do
      b = b + 1
      local breaker, key = breakers[b], KEYS[first + b]
      local state, current, openings, probing, passed =
        unpack(call('HMGET', key, 'state', 'generation', 'openings', 'probing', 'passed'))
      if (current or '0') == generation then
        local number, why = tonumber(generation), nil
        local probes, counts = probe == 'p' and state == 'half_open', probe == '' and (state or 'closed') == 'closed'
        for _, attempt in ipairs(attempts) do
          local worked, took = unpack(attempt)
          local slow = worked ~= 0 and breaker[7] >= 0 and took > breaker[7]
          if probes and (worked == 2 or slow) then
            why = worked == 2 and 'probe failed' or 'probe slow'
          elseif counts and worked ~= 0 then
            why = count(key, breaker, worked, slow, now)
          end
          if why then break end
        end
        if probes and not why then
          local others = string.gsub(probing, ' ?' .. id, '', 1)
          passed = tonumber(passed) + result
          if result == 1 and passed >= breaker[11] then
            close(key, number, now)
            changes = changes .. breaker[1] .. ' closed;'
          else
            call('HSET', key, 'probing', others, 'passed', passed)
          end
        end
        if why then
          open(key, breaker, number, tonumber(openings) or 0, why, now, chance)
          changes = changes .. breaker[1] .. ' open ' .. why .. ';'
        end
      end
    end
    return changes
  end

  return limits_corrected, circuits_told
end
