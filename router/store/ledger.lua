-- Budgets. An account, a tenant or an organisation, is a field of the hash `…now:<scope>`: the sums of the hour, day and
-- month of its last reservation, packed, so that all windows of a request are read in one call and written in another;
-- calls are what budgets cost. Other windows are in the hash `…bud:<scope><account>`, `<per>:<label>:spent` and
-- `…:reserved`. Amounts are integer nano-USD. What a request reserved, and where, is in its lease.

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

-- Hour since 1970, then spent and reserved of its hour, day and month, as doubles: exact below 2^53, where limits stand.
-- UNUSED: nothing was asked of the window. SPILLED: it is counted in `bud:`, by the server's integers, for it is
-- overdrawn beyond 2^53, or an older one that came back. The padding makes a value so long that the server keeps even a
-- short hash as a table: in a list every account would be searched for.
local PACKED, PADDING = '<dddddddc16', '----------------'
local EXACT, UNUSED, SPILLED = 2 ^ 53, -2, -1
local PERS = { 'hour', 'day', 'month' }
local LETTERS = { h = 1, d = 2, m = 3 }

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

-- A function of a text whose results are kept: there are as many as tenants, and requests are many.
local function remembered(make)
  local known, n = {}, 0
  return function(text)
    local found = known[text]
    if not found then
      if n == 10000 then
        known, n = {}, 0
      end
      found = make(text)
      known[text], n = found, n + 1
    end
    return found
  end
end

-- Of begin: `account\tlimit\tlimit\tlimit` of hour, day and month, a line each; '' for none, '-' for one that never binds
-- -> accounts' names, limits by place in PERS or false, and how lease and log call it: `\taccount hdm` of each.
local asked = remembered(function(text)
  local names, limits, places = {}, {}, ''
  for name, hour, day, month in string.gmatch(text, '([^\t\n]*)\t([%d-]*)\t([%d-]*)\t([%d-]*)') do
    local mine, letters = {}, ''
    for place, limit in ipairs({ hour, day, month }) do
      mine[place] = limit == '-' and math.huge or tonumber(limit) or false
      letters = letters .. (mine[place] and string.sub(PERS[place], 1, 1) or '')
    end
    names[#names + 1], limits[#limits + 1] = name, mine
    places = places .. '\t' .. name .. ' ' .. letters
  end
  return { names = names, limits = limits, places = places }
end)

-- Of a lease: the accounts' names, and of each the places in PERS where it reserved.
local held = remembered(function(text)
  local names, places = {}, {}
  for name, letters in string.gmatch(text, '\t([^\t]*) (%a+)') do
    local mine = {}
    for letter in string.gmatch(letters, '%a') do
      mine[#mine + 1] = LETTERS[letter]
    end
    names[#names + 1], places[#places + 1] = name, mine
  end
  return { names = names, places = places }
end)

local function read(now_key, names)
  local found = redis.call('HMGET', now_key, unpack(names))
  for k, packed in ipairs(found) do
    found[k] = packed and { struct.unpack(PACKED, packed) }
  end
  return found
end

local function write(now_key, names, all)
  local changes = {}
  for k, name in ipairs(names) do
    local s = all[k]
    if s then
      changes[#changes + 1] = name
      changes[#changes + 1] = struct.pack(PACKED, s[1], s[2], s[3], s[4], s[5], s[6], s[7], PADDING)
    end
  end
  if #changes > 0 then
    redis.call('HSET', now_key, unpack(changes))
  end
end

-- The sums of an account, false for a new one, as they are at another hour; nothing is written.
local function turned(key, sums, hour)
  local was, is, new = sums and calendar(sums[1]), calendar(hour), { hour }
  for place, window in ipairs(is) do
    local at = 2 * place
    if was and was[place].name == window.name then
      new[at], new[at + 1] = sums[at], sums[at + 1]
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

-- Windows that an account leaves go to `bud:`; there, once a day, those go that ended long ago.
local function put_away(key, sums, hour)
  local was, is = calendar(sums[1]), calendar(hour)
  for place, window in ipairs(was) do
    if window.name ~= is[place].name and sums[2 * place] >= 0 then
      put(key, window.name, sums[2 * place], sums[2 * place + 1])
    end
  end
  if was[2].name == is[2].name then
    return
  end
  local oldest = calendar(hour - KEEP_S / 3600)
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local letter = LETTERS[string.sub(field, 1, 1)]
    if letter and field < oldest[letter].name then
      redis.call('HDEL', key, field)
    end
  end
end

-- Adds to a window: in `sums`, its account's, or in `bud:` where they do not hold it, or hold it no longer.
local function add(key, sums, hour, place, spent, reserved)
  local at = 2 * place
  if sums and sums[at] >= 0 then
    local s, r = sums[at] + spent, sums[at + 1] + reserved
    if s < EXACT and r < EXACT then
      sums[at], sums[at + 1] = s, r
      return
    end
    put(key, calendar(hour)[place].name, sums[at], sums[at + 1])
    sums[at], sums[at + 1] = SPILLED, SPILLED
  end
  local name = calendar(hour)[place].name
  if redis.call('HEXISTS', key, name .. ':reserved') == 1 then -- else the store slept longer than a window is kept
    redis.call('HINCRBY', key, name .. ':spent', string.format('%d', spent))
    redis.call('HINCRBY', key, name .. ':reserved', string.format('%d', reserved))
  end
end

-- What a window has left of a limit.
local function left_of(limit, key, sums, hour, place)
  local spent, reserved = sums[2 * place], sums[2 * place + 1]
  if spent == UNUSED then
    return limit
  elseif spent == SPILLED then
    local name = calendar(hour)[place].name
    local found = redis.call('HMGET', key, name .. ':spent', name .. ':reserved')
    spent, reserved = tonumber(found[1]), tonumber(found[2])
  end
  return limit - spent - reserved
end

-- Whether every window has room for the bound; nothing is written.
-- -> what `reserve` goes on with, refusals {3 × account's index + per's, left, ends in}…
local function room(prefix, scope, text, bound, now)
  local plan, hour, refusals, left_behind = asked(text), math.floor(now / 3600), {}, {}
  local all = read(prefix .. 'now:' .. scope, plan.names)
  for k, name in ipairs(plan.names) do
    local key, sums = prefix .. 'bud:' .. scope .. name, all[k]
    if not sums or sums[1] ~= hour then
      left_behind[k] = sums
      sums = turned(key, sums, hour)
      all[k] = sums
    end
    for place, limit in ipairs(plan.limits[k]) do
      -- What costs nothing fits even where more was spent than there was.
      local left = limit and bound > 0 and left_of(limit, key, sums, hour, place)
      if left and bound > left then
        refusals[#refusals + 1] = 3 * (k - 1) + place - 1
        refusals[#refusals + 1] = left
        refusals[#refusals + 1] = calendar(hour)[place].ends - now
      end
    end
  end
  return { plan = plan, hour = hour, all = all, left_behind = left_behind }, refusals
end

-- Reserves what had room, and returns what the lease says of it: bound, hour and where, between tabs.
local function reserve(prefix, scope, found, bound)
  local amount, hour, plan = tonumber(bound), found.hour, found.plan
  for k, name in ipairs(plan.names) do
    local key, sums = prefix .. 'bud:' .. scope .. name, found.all[k]
    if found.left_behind[k] then
      put_away(key, found.left_behind[k], hour)
    end
    for place, limit in ipairs(plan.limits[k]) do
      if limit then
        if sums[2 * place] == UNUSED then
          sums[2 * place], sums[2 * place + 1] = 0, 0
        end
        add(key, sums, hour, place, 0, amount)
      end
    end
  end
  write(prefix .. 'now:' .. scope, plan.names, found.all)
  return bound .. '\t' .. string.format('%d', hour) .. plan.places
end

-- Moves what a request reserved to what its windows spent; cost '' is unknown, and the whole bound is charged.
-- -> the ledger entry: what was charged, in which hour, and where, between tabs.
local function charge(prefix, scope, money, cost)
  local bound, hour_text, places = string.match(money, '^(%d+)(\t%d+)(.*)$')
  local charged, plan, hour = cost == '' and bound or cost, held(places), tonumber(hour_text)
  local spent, back, all = tonumber(charged), -tonumber(bound), read(prefix .. 'now:' .. scope, plan.names)
  for k, name in ipairs(plan.names) do
    local key, sums, was, is = prefix .. 'bud:' .. scope .. name, all[k], nil, nil
    if sums and sums[1] ~= hour then
      was, is = calendar(hour), calendar(sums[1])
    end
    for _, place in ipairs(plan.places[k]) do
      add(key, (not was or was[place].name == is[place].name) and sums, hour, place, spent, back)
    end
  end
  write(prefix .. 'now:' .. scope, plan.names, all)
  return charged .. hour_text .. places
end
