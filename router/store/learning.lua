-- Online learning. KEYS[1] is the lease of the one learner; its time is the server's.
-- hold: owner, milliseconds -> 2 taken, 1 held already, 0 another learner has it
local function hold(keys, args)
  local holder = redis.call('GET', keys[1])
  if holder and holder ~= args[1] then
    return 0
  end
  redis.call('SET', keys[1], args[1], 'PX', args[2])
  return holder and 1 or 2
end

local function release(keys, args)
  if redis.call('GET', keys[1]) == args[1] then
    return redis.call('DEL', keys[1])
  end
  return 0
end

-- publish: KEYS are lease, state (hash) and waiting decisions (hash). owner, seconds to keep, number of fields, field,
-- value, …, number of dropped decisions, id, …, then id, record of each changed one -> 1, or 0 where the lease is lost.
local function publish(keys, args)
  if redis.call('GET', keys[1]) ~= args[1] then
    return 0
  end
  local at = 3
  for _ = 1, tonumber(args[at]) do
    redis.call('HSET', keys[2], args[at + 1], args[at + 2])
    at = at + 2
  end
  at = at + 1
  for i = at + 1, at + tonumber(args[at]) do
    redis.call('HDEL', keys[3], args[i])
  end
  for i = at + tonumber(args[at]) + 1, #args, 2 do
    redis.call('HSET', keys[3], args[i], args[i + 1])
  end
  redis.call('EXPIRE', keys[2], args[2])
  redis.call('EXPIRE', keys[3], args[2])
  return 1
end

redis.register_function('@LIBRARY@_hold', hold)
redis.register_function('@LIBRARY@_release', release)
redis.register_function('@LIBRARY@_publish', publish)
