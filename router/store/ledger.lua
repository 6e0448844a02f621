-- Budgets. An account, a tenant or an organisation, is a hash `…bud:<scope><account>` that has two integers for each of
-- its windows, `<per>:<label>:spent` and `…:reserved`, in nano-USD. What a request reserved, and where, stands in its
-- lease. One hash, so that all windows are read in one call and written in another: calls are what budgets cost.

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

-- The UTC window that holds `now`: its name, the fields of its sums, and the second at which it ends.
local function window(per, label, ends)
  local name = per .. ':' .. label
  return { name = name, spent = name .. ':spent', reserved = name .. ':reserved', ends = ends }
end

local function calendar(now)
  local days, hour = math.floor(now / 86400), math.floor(now / 3600)
  local year, month, day = civil(days)
  local length = MONTH_DAYS[month]
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then
    length = 29
  end
  local of_month = string.format('%04d-%02d', year, month)
  local of_day = string.format('%s-%02d', of_month, day)
  return {
    hour = window('hour', string.format('%sT%02d', of_day, hour % 24), (hour + 1) * 3600),
    day = window('day', of_day, (days + 1) * 86400),
    month = window('month', of_month, (days - day + 1 + length) * 86400),
  }
end

-- The windows of now and what was read of requests' windows, kept for an hour: it costs more than all that follows.
local current = { windows = { hour = { ends = 0 } } }

local function at(now)
  local ends = current.windows.hour.ends
  if now >= ends or now < ends - 3600 then
    current = { windows = calendar(now), asked = {}, held = {} }
  end
  return current
end

-- An account's fields in the order of its windows, spent and reserved in turn, and how the log names the windows.
local function account_of(accounts, name)
  local last = accounts[#accounts]
  if not last or last.name ~= name then
    last = { name = name, windows = {}, limits = {}, fields = {} }
    accounts[#accounts + 1] = last
  end
  return last
end

-- `account\tper\tlimit` of each window, a line each, those of an account together -> accounts, and what the log calls it all.
local function asked(text, now)
  local known = at(now).asked
  if not known[text] then
    local accounts, places = {}, ''
    for name, per, limit in string.gmatch(text, '([^\t\n]*)\t(%a+)\t(%d*)') do
      local account, one = account_of(accounts, name), current.windows[per]
      local n = #account.windows + 1
      account.windows[n], account.limits[n] = one, tonumber(limit) or math.huge
      account.fields[2 * n - 1], account.fields[2 * n] = one.spent, one.reserved
      places = places .. '\t' .. name .. ' ' .. one.name
    end
    known[text] = { accounts = accounts, places = places }
  end
  return known[text]
end

-- The same of what a lease holds: `\taccount per:label` of each window.
local function held(places, now)
  local known = at(now).held
  if not known[places] then
    local accounts = {}
    for name, window_name in string.gmatch(places, '\t([^\t]*) ([^\t ]+)') do
      local fields = account_of(accounts, name).fields
      fields[#fields + 1] = window_name .. ':spent'
      fields[#fields + 1] = window_name .. ':reserved'
    end
    known[places] = accounts
  end
  return known[places]
end

-- Adds an amount to fields of a hash whose sums, as texts, were just read; a sum that is not there counts as 0.
-- Lua's numbers are exact below 2^53, where every limit stands; what is overdrawn beyond is left to HINCRBY.
local EXACT = 2 ^ 53

local function add(changes, key, field, before, amount)
  local sum = tonumber(before or '0')
  if sum >= EXACT or sum + amount >= EXACT then
    redis.call('HINCRBY', key, field, string.format('%d', amount))
  else
    changes[#changes + 1] = field
    changes[#changes + 1] = string.format('%d', sum + amount)
  end
end

local function write(key, changes)
  if #changes > 0 then
    redis.call('HSET', key, unpack(changes))
  end
end

-- A window's first reservation in an account: windows that ended long ago go, and the hash lives on.
local function roll(key, now)
  local oldest = calendar(now - KEEP_S)
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local per = string.match(field, '^(%a+):')
    if oldest[per] and field < oldest[per].name then
      redis.call('HDEL', key, field)
    end
  end
  -- A value this long makes the server keep even a short hash as a table: in a list it would be searched for each field.
  redis.call('HSET', key, 'table', string.rep('-', 65))
  redis.call('EXPIRE', key, string.format('%d', KEEP_S + 31 * 86400))
end

-- Whether every window has room for the bound; nothing is written.
-- -> what was asked, the sums of its accounts, refusals {index, left, ends in}…
local function room(prefix, text, bound, now)
  local plan, sums, refusals, index = asked(text, now), {}, {}, 0
  for k, account in ipairs(plan.accounts) do
    local found = redis.call('HMGET', prefix .. account.name, unpack(account.fields))
    for n, one in ipairs(account.windows) do
      local left = account.limits[n] - tonumber(found[2 * n - 1] or '0') - tonumber(found[2 * n] or '0')
      -- What costs nothing fits even where more was spent than there was.
      if bound > left and bound > 0 then
        refusals[#refusals + 1] = index
        refusals[#refusals + 1] = left
        refusals[#refusals + 1] = one.ends - now
      end
      index = index + 1
    end
    sums[k] = found
  end
  return plan, sums, refusals
end

-- Reserves, and returns what the lease says of it: the bound, and where.
local function reserve(prefix, plan, sums, bound, now)
  local amount = tonumber(bound)
  for k, account in ipairs(plan.accounts) do
    local key, changes = prefix .. account.name, {}
    for n, one in ipairs(account.windows) do
      local before = sums[k][2 * n]
      if not before then
        roll(key, now)
      end
      add(changes, key, one.reserved, before, amount)
    end
    write(key, changes)
  end
  return bound .. plan.places
end

-- Moves what a request reserved to what its windows spent; cost '' is unknown, and the whole bound is charged.
-- -> the ledger entry: what was charged, and where.
local function charge(prefix, money, cost, now)
  local bound, places = string.match(money, '^(%d+)(.*)$')
  local charged = cost == '' and bound or cost
  for _, account in ipairs(held(places, now)) do
    local key, fields, changes = prefix .. account.name, account.fields, {}
    local sums = redis.call('HMGET', key, unpack(fields))
    for n = 2, #fields, 2 do
      if sums[n] then -- else the store slept longer than a window is kept
        add(changes, key, fields[n - 1], sums[n - 1], tonumber(charged))
        add(changes, key, fields[n], sums[n], -tonumber(bound))
      end
    end
    write(key, changes)
  end
  return charged .. places
end
