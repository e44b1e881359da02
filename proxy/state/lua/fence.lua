-- Put before the scripts of the control plane. What must happen once carries the fencing token of the leader that
-- decided it; a token that is not the current one belongs to a leader that was replaced meanwhile.

-- Whether `token` is out of date. "" = not fenced: a person's doing, not the leader's.
local function stale(leader, token)
  return token ~= '' and redis.call('HGET', leader, 'token') ~= token
end

