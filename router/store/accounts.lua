-- Accounts. A tenant, one of its keys or an organisation is a field of the hash `…now:<scope>`: all that budgets and
-- limits count of it, packed, so that a request reads its accounts in one call and writes them in another; calls are
-- what they cost. A record: the hour since 1970 of the last reservation, spent and reserved of its hour, day and month
-- (`ledger.lua`), the millisecond of the last change of a limit, requests and tokens used, open requests, and the highest of
-- the tokens a minute by which those came up (`limits.lua`). They are doubles, exact below 2^53, and so long together that the server keeps even a short hash as a
-- table: in a list every account would be searched for.

local PACKED = '<dddddddddddd'
local HOUR, AT, REQUESTS, TOKENS, OPEN, RATE = 1, 8, 9, 10, 11, 12
-- Of the limit that asks, so not kept: what it does not count of a level. At 13 `struct.unpack` says where it stopped.
local REQUESTS_APART, TOKENS_APART = 14, 15
-- UNUSED: nothing was asked of a window. SPILLED: it is counted in `bud:`, by the server's integers, for it is overdrawn
-- beyond 2^53, or an older one that came back.
local UNUSED, SPILLED = -2, -1

local function new_record()
  return { 0, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, 0, 0, 0, 0, 0 }
end

-- By place in `names` the record, or false.
local function read(prefix, scope, names)
  local found = redis.call('HMGET', prefix .. 'now:' .. scope, unpack(names))
  for k = 1, #names do
    if found[k] then
      found[k] = { struct.unpack(PACKED, found[k]) }
    end
  end
  return found
end

local function write(prefix, scope, names, all)
  local changes, n = {}, 0
  for k = 1, #names do
    local r = all[k]
    if r then
      changes[n + 1], n = names[k], n + 2
      changes[n] = struct.pack(PACKED, r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12])
    end
  end
  if n > 0 then
    redis.call('HSET', prefix .. 'now:' .. scope, unpack(changes))
  end
end

-- A function of a text whose results are kept: there are as many as tenants and keys, and requests are many.
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

local LETTERS, LETTER_OF = { 'h', 'd', 'm' }, { h = 1, d = 2, m = 3 }

local function shares_in(text)
  local shares
  for mode, millionths in string.gmatch(text, '([^=,]+)=(%d+)') do
    shares = shares or {}
    shares[mode] = tonumber(millionths)
  end
  return shares or false
end

-- What binds a request, of `begin`. An account is a line, with tabs between: its name; the most of its hour, day and
-- month in nano-USD ('': no such budget, '-': one that never binds); requests a minute, tokens a minute, open requests
-- ('': no such limit); milliseconds of a share's slot, and shares as mode=millionths with commas between.
-- -> accounts' names; by place in them `limits` of hour, day and month, each a number or false, `rates`, and false where
-- they have none; `budgets` and `caps`, how a lease says them: `\taccount hdm`, and `\taccount tokens` of each whose end counts.
local asked = remembered(function(text)
  local plan = { names = {}, limits = {}, rates = {}, budgets = '', caps = '', is_limited = false }
  local line = '([^\t\n]*)\t([%d-]*)\t([%d-]*)\t([%d-]*)\t(%d*)\t(%d*)\t(%d*)\t(%d*)\t([^\n]*)'
  for name, hour, day, month, requests, tokens, open, slot_ms, shares in string.gmatch(text, line) do
    local k, mine, letters = #plan.names + 1, {}, ''
    for place, limit in ipairs({ hour, day, month }) do
      mine[place] = limit == '-' and math.huge or tonumber(limit) or false
      letters = letters .. (mine[place] and LETTERS[place] or '')
    end
    local rate = {
      requests = tonumber(requests) or 0,
      tokens = tonumber(tokens) or 0,
      open = tonumber(open) or 0,
      slot_ms = tonumber(slot_ms),
      shares = shares_in(shares),
    }
    rate.ends = rate.tokens + rate.open > 0
    plan.names[k], plan.limits[k] = name, letters ~= '' and mine
    plan.rates[k] = (rate.requests > 0 or rate.ends or rate.shares) and rate
    plan.is_limited = plan.is_limited or plan.rates[k] ~= false
    plan.budgets = plan.budgets .. (letters ~= '' and '\t' .. name .. ' ' .. letters or '')
    plan.caps = plan.caps .. (rate.ends and '\t' .. name .. ' ' .. string.format('%d', rate.tokens) or '')
  end
  return plan
end)

-- Of a lease, `budgets` and `caps` with a line's end between -> accounts' names, and by place in them the windows where
-- it reserved and the most tokens that it took, nil where none.
local ended = remembered(function(text)
  local plan, place_of = { names = {}, windows = {}, caps = {} }, {}
  local budgets, caps = string.match(text, '^([^\n]*)\n(.*)$')
  local function place(name)
    if not place_of[name] then
      plan.names[#plan.names + 1] = name
      place_of[name] = #plan.names
    end
    return place_of[name]
  end
  for name, letters in string.gmatch(budgets, '\t([^\t]*) (%a+)') do
    local windows = {}
    for letter in string.gmatch(letters, '%a') do
      windows[#windows + 1] = LETTER_OF[letter]
    end
    plan.windows[place(name)] = windows
  end
  for name, tokens in string.gmatch(caps, '\t([^\t]*) (%d+)') do
    plan.caps[place(name)] = tonumber(tokens)
  end
  return plan
end)
