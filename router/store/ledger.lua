-- Budgets. An account's record has what is spent and reserved in the hour, day and month of its last reservation. Other
-- windows are in the hash `…bud:<scope><account>`, `<per>:<label>:spent` and `…:reserved`. Amounts are integer nano-USD.
-- What a request reserved, and where, is in its lease.

local KEEP_S = 40 * 86400 -- after its end a window can still be shown for longer than a month
local MONTH_DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

-- Year, month and day of a count of days since 1970-01-01.
-- Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - math.floor((153 * mp + 2) / 5) + 1
end

local EXACT = 2 ^ 53

-- By place in PERS the UTC windows that hold an hour: their names, and the seconds at which they end.
local function calendar(hour)
  local days = math.floor(hour / 24)
  local year, month, day = civil(days)
  local length = MONTH_DAYS[month]
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then
    length = 29
  end
  local of_month = string.format('%04d-%02d', year, month)
  local of_day = string.format('%s-%02d', of_month, day)
  return {
    { name = string.format('hour:%sT%02d', of_day, hour % 24), ends = (hour + 1) * 3600 },
    { name = 'day:' .. of_day, ends = (days + 1) * 86400 },
    { name = 'month:' .. of_month, ends = (days - day + 1 + length) * 86400 },
  }
end

-- A record as it is at another hour; nothing is written.
local function turned(key, r, hour)
  local was, is = calendar(r[HOUR]), calendar(hour)
  local new = { hour, 0, 0, 0, 0, 0, 0, r[AT], r[REQUESTS], r[TOKENS], r[OPEN], r[RATE] }
  new[REQUESTS_APART], new[TOKENS_APART] = r[REQUESTS_APART], r[TOKENS_APART]
  for place, window in ipairs(is) do
    local at = 2 * place
    if was[place].name == window.name then
      new[at], new[at + 1] = r[at], r[at + 1]
    else
      local mark = redis.call('HEXISTS', key, window.name .. ':reserved') == 1 and SPILLED or UNUSED
      new[at], new[at + 1] = mark, mark
    end
  end
  return new
end

local function put(key, name, spent, reserved)
  redis.call('HSET', key, name .. ':spent', string.format('%d', spent), name .. ':reserved', string.format('%d', reserved))
  redis.call('EXPIRE', key, string.format('%d', KEEP_S + 31 * 86400))
end

-- Windows that an account leaves go to `bud:`; there, once a day, those go that ended long ago and in which nothing is
-- open. Long ago by this hour and by the one that is left: who is before the other was told a wrong time, and what was
-- spent in the windows of the right one has to be there when the clock is right again.
local function put_away(key, r, hour)
  local was, is = calendar(r[HOUR]), calendar(hour)
  for place, window in ipairs(was) do
    if window.name ~= is[place].name and r[2 * place] >= 0 then
      put(key, window.name, r[2 * place], r[2 * place + 1])
    end
  end
  if was[2].name == is[2].name then
    return
  end
  local oldest, sums = calendar(math.min(hour, r[HOUR]) - KEEP_S / 3600), redis.call('HGETALL', key)
  for i = 1, #sums, 2 do
    local name = string.match(sums[i], '^(.*):reserved$')
    local place = name and LETTER_OF[string.sub(name, 1, 1)]
    if place and sums[i + 1] == '0' and name < oldest[place].name then
      redis.call('HDEL', key, name .. ':spent', name .. ':reserved')
    end
  end
end

-- Adds to a window: in its account's record, or in `bud:` where that does not hold it, or holds it no longer.
local function add(key, r, hour, place, spent, reserved)
  local at = 2 * place
  if r and r[at] >= 0 then
    local s, v = r[at] + spent, r[at + 1] + reserved
    if s < EXACT and v < EXACT then
      r[at], r[at + 1] = s, v
      return
    end
    put(key, calendar(hour)[place].name, r[at], r[at + 1])
    r[at], r[at + 1] = SPILLED, SPILLED
  end
  local name = calendar(hour)[place].name
  if redis.call('HEXISTS', key, name .. ':reserved') == 1 then -- else the store slept longer than a window is kept
    redis.call('HINCRBY', key, name .. ':spent', string.format('%d', spent))
    redis.call('HINCRBY', key, name .. ':reserved', string.format('%d', reserved))
  end
end

-- What a window has left of a limit.
local function left_of(limit, key, r, hour, place)
  local spent, reserved = r[2 * place], r[2 * place + 1]
  if spent == UNUSED then
    return limit
  elseif spent == SPILLED then
    local name = calendar(hour)[place].name
    local found = redis.call('HMGET', key, name .. ':spent', name .. ':reserved')
    spent, reserved = tonumber(found[1]), tonumber(found[2])
  end
  return limit - spent - reserved
end

-- Whether every window has room for the bound; nothing is written, but records are turned to this hour.
-- -> records that were turned as they had been, by account's place; refusals, or nil: {-2, 3 × account's place from 0 +
-- per's, left, seconds to its end, …} of each window that lacks room.
local function room(accounts, plan, all, bound, now)
  local hour, left_behind, refusals = (now - now % 3600) / 3600, {}, nil
  for k = 1, #plan.names do
    local limits, r = plan.limits[k], all[k]
    if limits and r[HOUR] ~= hour then
      left_behind[k], all[k] = r, turned(accounts .. plan.names[k], r, hour)
      r = all[k]
    end
    for place = 1, limits and bound > 0 and 3 or 0 do -- what costs nothing fits even where more was spent than there was
      local limit = limits[place]
      local left = limit and left_of(limit, accounts .. plan.names[k], r, hour, place)
      if left and bound > left then
        refusals = refusals or { -2 }
        refusals[#refusals + 1] = 3 * (k - 1) + place - 1
        refusals[#refusals + 1] = left
        refusals[#refusals + 1] = calendar(hour)[place].ends - now
      end
    end
  end
  return left_behind, refusals
end

-- Reserves what had room -> what the lease says of it: bound, hour and where, between tabs.
local function reserve(accounts, plan, all, left_behind, bound, now)
  local amount, hour = tonumber(bound), (now - now % 3600) / 3600
  for k = 1, #plan.names do
    local key, r, limits = accounts .. plan.names[k], all[k], plan.limits[k]
    if left_behind[k] then
      put_away(key, left_behind[k], hour)
    end
    for place = 1, limits and 3 or 0 do
      if limits[place] then
        if r[2 * place] == UNUSED then
          r[2 * place], r[2 * place + 1] = 0, 0
        end
        add(key, r, hour, place, 0, amount)
      end
    end
  end
  return bound .. '\t' .. string.format('%d', hour) .. plan.budgets
end

-- Moves what a request reserved to what its windows spent, in the records of `plan`, which `ended` made.
local function charge(accounts, plan, all, bound, charged, hour)
  local spent, back = tonumber(charged), -tonumber(bound)
  for k, windows in pairs(plan.windows) do
    local key, r, was, is = accounts .. plan.names[k], all[k], nil, nil
    if r and r[HOUR] ~= hour then
      was, is = calendar(hour), calendar(r[HOUR])
    end
    for _, place in ipairs(windows) do
      add(key, (not was or was[place].name == is[place].name) and r, hour, place, spent, back)
    end
  end
end
