-- Owners: who signs leases, and until when each is alive. KEYS are `gs:{gs}:owners` and `gs:{gs}:epoch`. The first is a
-- hash of times by tag, `name:epoch`; by the name alone, of one that signed a lease and is not registered.

-- When nobody could reach the store for a whole life of an owner, nobody is known to be dead: all get one more.
local LAST_BEAT = '*'

local function spare_all(owners, now, seconds)
  local last = tonumber(redis.call('HGET', owners, LAST_BEAT) or now)
  redis.call('HSET', owners, LAST_BEAT, string.format('%d', now))
  if now - last <= seconds then
    return
  end
  for _, tag in ipairs(redis.call('HKEYS', owners)) do
    if tag ~= LAST_BEAT then
      redis.call('HSET', owners, tag, string.format('%d', now + seconds))
    end
  end
end

-- beat: owner name, epoch ('0': a new one), seconds -> the epoch to use from now on
local function beat(keys, args)
  local epoch, now, seconds = args[2], now_s(), tonumber(args[3])
  if seconds > 0 then
    spare_all(keys[1], now, seconds)
  end
  if epoch == '0' or redis.call('HEXISTS', keys[1], args[1] .. ':' .. epoch) == 0 then
    epoch = string.format('%d', redis.call('INCR', keys[2]))
  end
  redis.call('HSET', keys[1], args[1] .. ':' .. epoch, string.format('%d', now + seconds))
  redis.call('HDEL', keys[1], args[1])
  return tonumber(epoch)
end

-- enrol: seconds, names of who signed leases. One that is not registered, for it began before it could, or went on after
-- it was taken for dead, has so long to be heard of: else nobody would ever find that it is dead.
local function enrol(keys, args)
  local known, expires = {}, string.format('%d', now_s() + tonumber(args[1]))
  for _, tag in ipairs(redis.call('HKEYS', keys[1])) do
    known[owner_in(tag)] = true
  end
  for i = 2, #args do
    if not known[args[i]] then
      redis.call('HSET', keys[1], args[i], expires)
    end
  end
  return 1
end

local function dead(keys)
  local found, now, owners = {}, now_s(), redis.call('HGETALL', keys[1])
  for i = 1, #owners, 2 do
    if owners[i] ~= LAST_BEAT and tonumber(owners[i + 1]) <= now then
      found[#found + 1] = owners[i]
    end
  end
  return found
end

-- forget: tags and names whose leases are closed. One that came back to life meanwhile stays.
local function forget(keys, args)
  local now = now_s()
  for _, tag in ipairs(args) do
    local until_s = redis.call('HGET', keys[1], tag)
    if until_s and tonumber(until_s) <= now then
      redis.call('HDEL', keys[1], tag)
    end
  end
  return 1
end

redis.register_function({ function_name = '@LIBRARY@_beat', callback = beat, flags = { 'allow-oom' } })
redis.register_function({ function_name = '@LIBRARY@_enrol', callback = enrol, flags = { 'allow-oom' } })
redis.register_function({ function_name = '@LIBRARY@_dead', callback = dead, flags = { 'no-writes' } })
redis.register_function({ function_name = '@LIBRARY@_forget', callback = forget, flags = { 'allow-oom' } })
