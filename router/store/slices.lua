-- Slices: money that a gateway keeps reserved in advance, for tenants that are to be answered while the store is down.
-- `begin` grants one and `settle` returns it, both with an empty row: what was granted and returned is no request, and
-- leaves none in the log. These are what becomes of a slice in between.

-- The time of a row in the log, {seconds, microseconds}: now, or the last moment of a window that was reserved in and is
-- over. Entries of a window are found by their time, and are to sum to what it was charged.
local function dated(money, time)
  local hour, places = string.match(money, '^%d+\t(%d+)(.*)$')
  local windows, last = calendar(tonumber(hour)), tonumber(time[1])
  for _, mine in pairs(ended(places .. '\n').windows) do
    for _, place in ipairs(mine) do
      last = min(last, windows[place].ends - 1)
    end
  end
  return last < tonumber(time[1]) and { string.format('%d', last), '999999' } or time
end

-- draw: arguments as of `begin`, slice -> 1 opened, 0 known already.
-- A request that was answered without the store: its bound goes from the slice's lease to its own, and no sum changes.
-- Where the slice is gone, charged whole because its gateway was taken for dead, nothing is reserved anew: what the
-- request cost is charged beside it. It was answered, so no high water keeps it out, nor does a want of memory.
local function draw(keys, args)
  local id, scope, open = args[1], args[2], base(keys) .. 'open'
  if is_known(keys, scope, id) then
    return 0
  end
  local time, slice, held = redis.call('TIME'), redis.call('HGET', open, args[14]), nil
  local at_ms, bound, _ = tonumber(args[13]), tonumber(args[10]), nil
  local now = at_ms and floor(at_ms / 1000) or tonumber(time[1])
  if slice then
    local head, left, rest = string.match(slice, '^(.*\n)(%d+)(\t[^\n]*\n)$')
    local taken = min(tonumber(left), bound)
    redis.call('HSET', open, args[14], head .. string.format('%d', tonumber(left) - taken) .. rest)
    held = '\n' .. string.format('%d', taken) .. rest
  else
    args[10] = '0'
    now, _, held = enlist(base(keys), scope, args, time)
  end
  keep_lease(open, args, now, held)
  append(keys[1], dated(string.match(held, '^\n([^\n]*)'), time), 'd', args[7], args[8] ~= '' and 'e' or nil, args[8])
  return 1
end

-- forfeit: a slice of a dead gateway; arguments as of `settle`, its cost being all that `stale` found in the slice.
-- Nobody knows what was spent from it, so it is charged whole. Its stub becomes the decision that the outcome belongs to.
-- -> 1 charged, 0 closed before, -1 something was drawn from it since: look again.
local function forfeit(keys, args)
  local lease = redis.call('HGET', base(keys) .. 'open', args[1])
  if not lease then
    return 0
  end
  local _, _, _, stub, money = string.match(lease, LEASE)
  if string.match(money, '^%d+') ~= args[8] then
    return -1
  end
  append(keys[1], dated(money, redis.call('TIME')), 'd', stub)
  return settle(keys, args)
end

redis.register_function({ function_name = '@LIBRARY@_draw', callback = draw, flags = { 'allow-oom' } })
redis.register_function({ function_name = '@LIBRARY@_forfeit', callback = forfeit, flags = { 'allow-oom' } })
