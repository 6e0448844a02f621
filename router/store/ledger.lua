-- Budgets. A window is a hash `…bud:<scope><account>:<per>:<label>` with the integers `spent` and `reserved`, in nano-USD;
-- `…held` holds per open request what it reserved, and in which windows. Amounts reach HINCRBY as the texts they came
-- as: Lua's numbers only compare, and limits stand below 2^53, up to where they are exact.

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

-- The UTC window that holds `now`: its label and the second at which it ends.
local function window(per, now)
  local days = math.floor(now / 86400)
  local year, month, day = civil(days)
  if per == 'month' then
    local length = MONTH_DAYS[month]
    if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then
      length = 29
    end
    return string.format('%04d-%02d', year, month), (days - day + 1 + length) * 86400
  end
  local label = string.format('%04d-%02d-%02d', year, month, day)
  if per == 'day' then
    return label, (days + 1) * 86400
  end
  local hour = math.floor(now / 3600)
  return string.format('%sT%02d', label, hour % 24), (hour + 1) * 3600
end

-- Whether every window has room for the bound; nothing is written.
-- args from `first` on: account, per, limit, … -> windows {key, seconds to live or nil}, refusals {index, left, ends in}…
local function room(prefix, scope, args, first, bound, now)
  local windows, refusals = {}, {}
  for i = first, #args, 3 do
    local label, ends = window(args[i + 1], now)
    local key = 'bud:' .. scope .. args[i] .. ':' .. args[i + 1] .. ':' .. label
    local sums = redis.call('HMGET', prefix .. key, 'spent', 'reserved')
    local left = (tonumber(args[i + 2]) or math.huge) - tonumber(sums[1] or '0') - tonumber(sums[2] or '0')
    -- What costs nothing fits even where more was spent than there was.
    if bound > left and bound > 0 then
      refusals[#refusals + 1] = (i - first) / 3
      refusals[#refusals + 1] = left
      refusals[#refusals + 1] = ends - now
    end
    windows[#windows + 1] = { key, not sums[2] and ends - now + KEEP_S or nil }
  end
  return windows, refusals
end

local function hold_money(prefix, id, bound, windows)
  local held = bound
  for _, found in ipairs(windows) do
    redis.call('HINCRBY', prefix .. found[1], 'reserved', bound)
    if found[2] then
      redis.call('EXPIRE', prefix .. found[1], string.format('%d', found[2]))
    end
    held = held .. '\n' .. found[1]
  end
  redis.call('HSET', prefix .. 'held', id, held)
end

-- Moves what a request reserved to what its windows spent; cost '' is unknown, and the whole bound is charged.
local function charge(prefix, id, cost)
  local held = redis.call('HGET', prefix .. 'held', id)
  if not held then
    return
  end
  redis.call('HDEL', prefix .. 'held', id)
  local bound, back
  for part in string.gmatch(held, '[^\n]+') do
    if not bound then
      bound, back = part, part == '0' and part or '-' .. part -- HINCRBY knows no '-0'
    elseif redis.call('HINCRBY', prefix .. part, 'reserved', back) < 0 then
      redis.call('DEL', prefix .. part) -- it had expired: the store slept longer than a window is kept
    else
      redis.call('HINCRBY', prefix .. part, 'spent', cost == '' and bound or cost)
    end
  end
end

