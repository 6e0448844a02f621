-- Rate limits, concurrency and shares of modes, counted in the call that opens a request and corrected in the one that
-- closes it. A limit belongs to an account: a tenant, one of its keys, or the organisation.
-- `…lim:<scope><account>`: the millisecond of the last change, then requests and tokens that are used, in 60000ths of
-- one. At a limit of L a minute L of them leak each millisecond and 60000·L fill it: whole numbers, exact below 2^53.
-- `…running`: open requests by account. `…limited`: by open request, what its end gives back.
-- Source: ITU-T I.371 (03/2004), Annex A, the Generic Cell Rate Algorithm as a continuous-state leaky bucket.

local UNIT, SLOTS, EXACT = 60000, 12, 9e15
local UNLIMITED = -1

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function used(key)
  local at, requests, tokens = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (%d+)$')
  return tonumber(at), tonumber(requests or '0'), tonumber(tokens or '0')
end

local function keep(key, at, requests, tokens, ...)
  redis.call('SET', key, string.format('%.0f %.0f %.0f', at, requests, tokens), ...)
end

-- What is left of a bucket, and the milliseconds until it is full again; both UNLIMITED where there is none.
local function left(per_minute, level)
  if per_minute == 0 then
    return UNLIMITED, UNLIMITED
  end
  return math.max(math.floor((UNIT * per_minute - level) / UNIT), 0), math.ceil(level / per_minute)
end

-- Milliseconds until `more` fits; 0: it does.
local function wait(per_minute, level, more)
  if per_minute == 0 or level + more <= UNIT * per_minute then
    return 0
  end
  return math.ceil((level + more - UNIT * per_minute) / per_minute)
end

-- Requests by mode in the last window, which slides by a twelfth of itself: the slots that count, all, by mode.
local function tally(key, slot)
  local slots, total, by_mode, packed = {}, 0, {}, redis.call('GET', key)
  for _, each in ipairs(packed and cmsgpack.unpack(packed) or {}) do
    if each[1] > slot - SLOTS and each[1] <= slot then
      slots[#slots + 1] = each
      total = total + each[2]
      for mode, count in pairs(each[3]) do
        by_mode[mode] = (by_mode[mode] or 0) + count
      end
    end
  end
  return { slots = slots, total = total, by_mode = by_mode }
end

local function note_mode(share, slot, mode)
  local last = share.slots[#share.slots]
  if not last or last[1] ~= slot then
    last = { slot, 0, {} }
    share.slots[#share.slots + 1] = last
  end
  last[2], last[3][mode] = last[2] + 1, (last[3][mode] or 0) + 1
  share.total, share.by_mode[mode] = share.total + 1, (share.by_mode[mode] or 0) + 1
end

-- Whether one more request of this mode would be more than its share, in millionths.
local function is_full(share, mode, millionths)
  return ((share.by_mode[mode] or 0) + 1) * 1000000 > millionths * (share.total + 1)
end

-- One limit as it stands now. As it comes: account, requests and tokens a minute, concurrency (0: no limit), the
-- milliseconds of a share's slot, and the shares of modes in millionths.
local function look(prefix, scope, given, asked, now)
  local account = scope .. given[1]
  local each = {
    account = account, key = prefix .. 'lim:' .. account, share_key = prefix .. 'shr:' .. account,
    per_minute = given[2], tokens_per_minute = given[3], concurrency = given[4], shares = given[6],
    requests = 0, tokens = 0, taken = math.min(asked, given[3]), running = 0,
  }
  if each.per_minute + each.tokens_per_minute > 0 then
    local at, requests, tokens = used(each.key)
    local passed = math.max(now - (at or now), 0)
    each.requests = math.max(requests - passed * each.per_minute, 0)
    each.tokens = math.max(tokens - passed * each.tokens_per_minute, 0)
  end
  if each.concurrency > 0 then
    each.running = tonumber(redis.call('HGET', prefix .. 'running', account) or '0')
  end
  if next(each.shares) then
    each.slot = math.floor(now / given[5])
    each.share, each.window_ms = tally(each.share_key, each.slot), given[5] * SLOTS
  end
  return each
end

-- For the reply: what is left of requests and tokens, each with its reset, then the modes whose share is full.
local function allowance(each)
  local requests, requests_ms = left(each.per_minute, each.requests)
  local tokens, tokens_ms = left(each.tokens_per_minute, each.tokens)
  local told = { requests, requests_ms, tokens, tokens_ms }
  for mode, millionths in pairs(each.share and each.shares or {}) do
    if is_full(each.share, mode, millionths) then
      told[#told + 1] = mode
    end
  end
  return told
end

local function allowances(reply, limits)
  for _, each in ipairs(limits) do
    reply[#reply + 1] = allowance(each)
  end
  return reply
end

-- What refuses longest, if anything does: index of the limit, kind, milliseconds to wait (concurrency: UNLIMITED).
local function refusal(limits)
  local worst
  for i, each in ipairs(limits) do
    local waits = {
      requests = wait(each.per_minute, each.requests, UNIT),
      tokens = wait(each.tokens_per_minute, each.tokens, UNIT * each.taken),
      concurrency = each.concurrency > 0 and each.running >= each.concurrency and UNLIMITED or 0,
    }
    for kind, ms in pairs(waits) do
      if ms ~= 0 and (not worst or ms > worst[3]) then
        worst = { i - 1, kind, ms }
      end
    end
  end
  return worst
end

-- Whether every limit has room; nothing is written. `packed` is '' or the JSON of {time in ms or 0, tokens at most, mode
-- or '' (a turn that goes on: it counts in no share), limit…}, a limit as `look` takes it.
-- -> what `enter` writes, or nil and the reply: {-3, index, kind, ms, allowance…} or {-4, index, allowance…} for a share.
local function admit(prefix, scope, packed)
  if packed == '' then
    return nil
  end
  local asked, limits = cjson.decode(packed), {}
  local now, mode = asked[1] > 0 and asked[1] or now_ms(), asked[3]
  for i = 4, #asked do
    limits[#limits + 1] = look(prefix, scope, asked[i], asked[2], now)
  end
  local refused = refusal(limits)
  if refused then
    return nil, allowances({ -3, unpack(refused) }, limits)
  end
  for i, each in ipairs(limits) do
    local millionths = each.share and each.shares[mode]
    if millionths and is_full(each.share, mode, millionths) then
      return nil, allowances({ -4, i - 1 }, limits)
    end
  end
  return { limits = limits, now = now, mode = mode }
end

local function enter_one(prefix, each, now, mode)
  if each.per_minute + each.tokens_per_minute > 0 then
    each.requests = each.per_minute > 0 and each.requests + UNIT or 0
    each.tokens = each.tokens + UNIT * each.taken
    local _, requests_ms = left(each.per_minute, each.requests)
    local _, tokens_ms = left(each.tokens_per_minute, each.tokens)
    local ms = math.max(requests_ms, tokens_ms) + 1000
    keep(each.key, now, each.requests, each.tokens, 'PX', string.format('%.0f', ms))
  end
  if each.concurrency > 0 then
    redis.call('HINCRBY', prefix .. 'running', each.account, 1)
  end
  if each.share and mode ~= '' then
    note_mode(each.share, each.slot, mode)
    redis.call('SET', each.share_key, cmsgpack.pack(each.share.slots), 'PX', string.format('%.0f', each.window_ms))
  end
end

-- Takes what `admit` found room for -> begin's reply: 1, or {1, allowance…}.
local function enter(prefix, id, admitted)
  if not admitted then
    return 1
  end
  local given_back = {}
  for _, each in ipairs(admitted.limits) do
    enter_one(prefix, each, admitted.now, admitted.mode)
    if each.tokens_per_minute + each.concurrency > 0 then
      given_back[#given_back + 1] = { each.account, each.taken, each.tokens_per_minute, each.concurrency }
    end
  end
  if #given_back > 0 then
    redis.call('HSET', prefix .. 'limited', id, cjson.encode(given_back))
  end
  return allowances({ 1 }, admitted.limits)
end

-- Puts the tokens that were used in the place of those that were taken.
local function correct(key, taken, tokens, per_minute)
  local at, requests, level = used(key)
  if not at and tokens <= taken then
    return -- all has leaked, and the bucket is full
  end
  level = math.min(math.max(level + UNIT * (tokens - taken), 0), EXACT)
  local _, ms = left(per_minute, level)
  local lives = at and redis.call('PTTL', key) or 0
  keep(key, at or now_ms(), requests, level, 'PX', string.format('%.0f', math.max(lives, ms + 1000)))
end

-- The request is over. tokens: what it used; '': unknown, then what was taken stays; '-': it was under no limit.
local function leave(prefix, id, tokens)
  local given_back = tokens ~= '-' and redis.call('HGET', prefix .. 'limited', id)
  if not given_back then
    return
  end
  redis.call('HDEL', prefix .. 'limited', id)
  for _, each in ipairs(cjson.decode(given_back)) do
    local account, taken, per_minute, concurrency = unpack(each)
    if per_minute > 0 and tokens ~= '' then
      correct(prefix .. 'lim:' .. account, taken, tonumber(tokens), per_minute)
    end
    if concurrency > 0 and redis.call('HINCRBY', prefix .. 'running', account, -1) <= 0 then
      redis.call('HDEL', prefix .. 'running', account)
    end
  end
end
