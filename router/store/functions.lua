#!lua name=@LIBRARY@
-- Every change to a request's state. KEYS[1] is the shard's log stream, `gs:{sNN}:log`; every other key of the shard is
-- derived from it, so all carry its hash tag and one node of a cluster holds them. Time is the server's alone, but
-- where a test gives another. This is loaded behind `accounts.lua`, `ledger.lua`, `limits.lua` and `requests.lua`, and
-- before `owners.lua`, `slices.lua` and `learning.lua`, as one library.

local DAY_S, MONTH_S = 86400, 30 * 86400
local SCHEMA = 2

local function base(keys)
  return string.sub(keys[1], 1, -4)
end

local function now_s()
  return tonumber(redis.call('TIME')[1])
end

-- A log entry at this time, with one more field where there is one.
local function append(stream, time, kind, json, field, value)
  local at = string.format('%s.%06d', time[1], tonumber(time[2]))
  if field then
    redis.call('XADD', stream, '*', 't', kind, 'at', at, 'j', json, field, value)
  else
    redis.call('XADD', stream, '*', 't', kind, 'at', at, 'j', json)
  end
end

local function full(stream, high_water)
  local limit = tonumber(high_water)
  return limit > 0 and redis.call('XLEN', stream) >= limit
end

-- Whether the request is open, or was.
local function is_known(keys, scope, id)
  return redis.call('HEXISTS', base(keys) .. 'open', id) == 1
    or redis.call('EXISTS', base(keys) .. 'req:' .. scope .. id) == 1
end

-- Of the arguments of `begin`. held: what `enlist` has for the lease.
local function keep_lease(open, args, now, held)
  local expires = string.format('%d', now + tonumber(args[4]))
  redis.call('HSET', open, args[1], args[3] .. '\n' .. expires .. '\n' .. args[2] .. '\n' .. args[6] .. held)
end

-- begin: request id, scope, owner tag, lease seconds, high water, stub, row ('': a slice, which is no request), embedding
-- -> 1 opened, 0 known already, -1 full.
-- With budgets or limits also: accounts as `asked` reads them, bound in nano-USD ('': no budget), the most tokens it can
-- use, mode ('': it counts in no share), and milliseconds ('': the server's)
-- -> {1, …} with `allowances` where it is limited, or the refusal of `admit` or `room`.
local function begin(keys, args)
  local scope = args[2]
  if is_known(keys, scope, args[1]) then
    return 0
  end
  if full(keys[1], args[5]) then
    return -1
  end
  local time = redis.call('TIME')
  local now, reply, held = tonumber(time[1]), 1, ''
  if args[9] then
    local refused
    now, reply, held, refused = enlist(base(keys), scope, args, time)
    if refused then
      return refused
    end
  end
  keep_lease(base(keys) .. 'open', args, now, held)
  if args[7] ~= '' then
    append(keys[1], time, 'd', args[7], args[8] ~= '' and 'e' or nil, args[8])
  end
  return reply
end

-- settle: request id, scope, row, decision id, tenant, session, session value, cost, tokens, tool call ids…
-- The cost is '-' where nothing was reserved, the tokens are where no limit counts the end; else what it came to, or ''
-- for unknown. What was charged is in the log beside the row; a slice that is returned has an empty row, and is not there.
-- -> 1 closed, 2 closed although the store had lost its lease, 0 closed before (then nothing changes).
local function settle(keys, args)
  local id, scope, open = args[1], args[2], base(keys) .. 'open'
  local known = args[4] .. '\n' .. args[5]
  if not redis.call('SET', base(keys) .. 'req:' .. scope .. id, known, 'EX', MONTH_S, 'NX') then
    return 0
  end
  local entry
  if args[8] ~= '-' or args[9] ~= '-' then
    entry = discharge(base(keys), scope, redis.call('HGET', open, id), args[8], args[9])
  end
  local leased = redis.call('HDEL', open, id)
  if args[3] ~= '' then
    append(keys[1], redis.call('TIME'), 'o', args[3], entry and 'm', entry)
  end
  if args[6] ~= '' then
    redis.call('SET', base(keys) .. 'ses:' .. scope .. args[6], args[7], 'EX', DAY_S)
  end
  for i = 10, #args do
    redis.call('SET', base(keys) .. 'tool:' .. scope .. args[i], args[7], 'EX', DAY_S)
  end
  return 2 - leased
end

-- withdraw: a begin whose reply was lost, and after which nothing was sent; arguments as of `settle`
-- -> 1 it had come and is closed now, 0 it had not, and will change nothing if it still does.
local function withdraw(keys, args)
  if redis.call('HEXISTS', base(keys) .. 'open', args[1]) == 1 then
    return settle(keys, args)
  end
  redis.call('SET', base(keys) .. 'req:' .. args[2] .. args[1], '\n', 'EX', DAY_S, 'NX')
  return 0
end

-- feedback: scope, idempotency key, feedback id, row, high water -> the feedback id that counts, or -1 when full
local function feedback(keys, args)
  local key = base(keys) .. 'fb:' .. args[1] .. args[2]
  local first = redis.call('GET', key)
  if first then
    return first
  end
  if full(keys[1], args[5]) then
    return -1
  end
  redis.call('SET', key, args[3], 'EX', MONTH_S)
  append(keys[1], redis.call('TIME'), 'f', args[4])
  return args[3]
end

-- Name and epoch of the owner that signs so.
local function owner_in(tag)
  local name, epoch = string.match(tag, '^(.*):(%d+)$')
  return name or tag, tonumber(epoch or '0')
end

-- stale: oldest epoch that lives, time ('': the server's), tags of dead owners, and names of those that are dead whatever
-- their epoch…
-- -> {{request id, scope, stub, bound or ''} of every lease nobody will close, names of those who signed the others}
local function stale(keys, args)
  local dead, found, signed, names, now = {}, {}, {}, {}, tonumber(args[2]) or now_s()
  for i = 3, #args do
    dead[args[i]] = true
  end
  local leases = redis.call('HGETALL', base(keys) .. 'open')
  for i = 1, #leases, 2 do
    local tag, expires, scope, stub, money = string.match(leases[i + 1], LEASE)
    local name, epoch = owner_in(tag)
    if dead[tag] or dead[name] or tonumber(expires) <= now or epoch < tonumber(args[1]) then
      found[#found + 1] = { leases[i], scope, stub, string.match(money, '^%d*') }
    elseif not signed[name] then
      signed[name] = true
      names[#names + 1] = name
    end
  end
  return { found, names }
end

-- ack: reader, last stream id it has made durable -> entries trimmed. Only what every reader has acknowledged goes.
local function later(a, b)
  local a_ms, a_n = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)-(%d+)$')
  a_ms, a_n, b_ms, b_n = tonumber(a_ms), tonumber(a_n), tonumber(b_ms), tonumber(b_n)
  return a_ms > b_ms or (a_ms == b_ms and a_n > b_n)
end

local function ack(keys, args)
  local acks = base(keys) .. 'ack'
  local before = redis.call('HGET', acks, args[1])
  if not before or later(args[2], before) then
    redis.call('HSET', acks, args[1], args[2])
  end
  return 1
end

local function trim(keys)
  local lowest
  for _, id in ipairs(redis.call('HVALS', base(keys) .. 'ack')) do
    if not lowest or later(lowest, id) then
      lowest = id
    end
  end
  if not lowest then
    return 0
  end
  local ms, n = string.match(lowest, '^(%d+)-(%d+)$')
  return redis.call('XTRIM', keys[1], 'MINID', ms .. '-' .. string.format('%d', tonumber(n) + 1))
end

-- Older data. `migrate` raises the number first, so that no gateway of an earlier version comes in any more, and notes
-- from where shards are to be lifted; who finds that note lifts all of them before it serves. Steps may be repeated.
-- migrate: KEYS are `gs:{gs}:schema` and `gs:{gs}:lifting` -> the schema from which to lift, 0: nothing is to be done.
local function migrate(keys)
  local have = tonumber(redis.call('GET', keys[1]) or '0')
  if have < SCHEMA then
    if have > 0 then
      redis.call('SET', keys[2], string.format('%d', have))
    end
    redis.call('SET', keys[1], string.format('%d', SCHEMA))
  end
  return tonumber(redis.call('GET', keys[2]) or '0')
end

-- The first hour of a window `<per>:<label>`, since 1970; of days_from_civil, the inverse of `civil`.
local function hour_of(name)
  local year, month, day, hour = string.match(name, ':(%d+)-(%d+)-?(%d*)T?(%d*)$')
  year, month = tonumber(year), tonumber(month)
  local y = month <= 2 and year - 1 or year
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doy = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + (tonumber(day) or 1) - 1
  local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy
  return (era * 146097 + doe - 719468) * 24 + (tonumber(hour) or 0)
end

local steps = {
  -- Each window had a key of its own, and `held` what open requests had reserved. Before budgets there was neither.
  [1] = function(keys, args)
    for i = 2, #args do
      local account, name = string.match(args[i], '^(.*):(%a+:[%dT-]+)$')
      local sums = redis.call('HMGET', args[i], 'spent', 'reserved')
      if sums[2] then
        put(account, name, tonumber(sums[1] or '0'), tonumber(sums[2]))
        redis.call('DEL', args[i])
      end
    end
    local open, reserved = base(keys) .. 'open', redis.call('HGETALL', base(keys) .. 'held')
    for i = 1, #reserved, 2 do
      local lease = redis.call('HGET', open, reserved[i]) or ''
      local scope = string.match(lease, '^[^\n]*\n[^\n]*\n([^\n]*)') or ''
      local hour, places = 0, ''
      for window_key in string.gmatch(reserved[i + 1], '\n([^\n]+)') do
        local account, name = string.match(string.sub(window_key, #scope + 5), '^(.*):(%a+:[%dT-]+)$')
        hour = math.max(hour, hour_of(name)) -- the narrowest window begins last
        places = places .. '\t' .. account .. ' ' .. string.sub(name, 1, 1)
      end
      local money = string.match(reserved[i + 1], '^%d+') .. '\t' .. string.format('%d', hour) .. places
      redis.call('HSET', open, reserved[i], lease .. '\n' .. money)
    end
    redis.call('DEL', base(keys) .. 'held')
  end,
}

-- lift: KEYS[1] a shard's log. Schema to lift from, then the shard's keys of windows as schema 1 had them.
local function lift(keys, args)
  for from = tonumber(args[1]), SCHEMA - 1 do
    steps[from](keys, args)
  end
  return 1
end

redis.register_function('@LIBRARY@_begin', begin)
-- What has begun must be able to end, even when the server is out of memory for new work.
redis.register_function({ function_name = '@LIBRARY@_settle', callback = settle, flags = { 'allow-oom' } })
redis.register_function({ function_name = '@LIBRARY@_withdraw', callback = withdraw, flags = { 'allow-oom' } })
redis.register_function('@LIBRARY@_feedback', feedback)
redis.register_function({ function_name = '@LIBRARY@_stale', callback = stale, flags = { 'no-writes' } })
redis.register_function({ function_name = '@LIBRARY@_ack', callback = ack, flags = { 'allow-oom' } })
redis.register_function({ function_name = '@LIBRARY@_trim', callback = trim, flags = { 'allow-oom' } })
redis.register_function('@LIBRARY@_migrate', migrate)
redis.register_function('@LIBRARY@_lift', lift)
