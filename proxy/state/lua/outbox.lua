-- Put before the scripts about deliveries. A delivery is {alert id, channel, "raised" | "resolved", attempt, due (ms)}.

local function pack_delivery(d)
  return cjson.encode({d[1], d[2], d[3], tostring(d[4]), tostring(d[5])})
end

local function unpack_delivery(packed) return cjson.decode(packed) end

-- Into the outbox, or to wait until it is due.
local function put_out(outbox, later, keep_ms, now, d)
  if tonumber(d[5]) > tonumber(now) then
    redis.call('ZADD', later, d[5], pack_delivery(d))
    redis.call('PEXPIRE', later, keep_ms)
  else
    redis.call('XADD', outbox, '*', 'alert', d[1], 'channel', d[2], 'phase', d[3], 'attempt', d[4])
    redis.call('PEXPIRE', outbox, keep_ms)
  end
end

