-- Rate limits, concurrency and shares of modes, counted in the call that opens a request and corrected in the one that
-- closes it. A limit belongs to an account: a tenant, one of its keys, or the organisation.
-- `…limits` has by account four numbers: the millisecond of the last change, requests and tokens that are used, in
-- 60000ths of one, and open requests. At a limit of L a minute L of them leak each millisecond and 60000·L fill it: whole
-- numbers, exact below 2^53. `…shares` has the requests by mode. A claim stays in the lease, behind a tab after the stub:
-- who ends the request, and be it for a gateway that died, gives back what was taken.
-- Few calls and few tables: each call of the store costs about as much as all the arithmetic.
-- Source: ITU-T I.371 (03/2004), Annex A, the Generic Cell Rate Algorithm as a continuous-state leaky bucket.

local UNIT, SLOTS, FULLEST = 60000, 12, 9e15
local UNLIMITED = -1
local LEVELS = '>dddd'

-- Not those of `math`: to a function of the store a global is dear.
local function floor(x)
  return x - x % 1
end

local function ceil(x)
  return x + -x % 1
end

local function max(a, b)
  return a > b and a or b
end

local function min(a, b)
  return a < b and a or b
end

local function levels(prefix, account)
  local packed = redis.call('HGET', prefix .. 'limits', account)
  if not packed then
    return 0, 0, 0, 0
  end
  return struct.unpack(LEVELS, packed)
end

local function keep_levels(prefix, account, at, requests, tokens, open)
  redis.call('HSET', prefix .. 'limits', account, struct.pack(LEVELS, at, requests, tokens, open))
end

-- Milliseconds until `more` fits; 0: it does.
local function wait(per_minute, level, more)
  local over = level + more - UNIT * per_minute
  return over > 0 and ceil(over / per_minute) or 0
end

-- Requests by mode in the last window, which slides by a twelfth of itself: the slots that count, all, by mode.
local function tally(prefix, account, slot)
  local slots, total, by_mode, packed = {}, 0, {}, redis.call('HGET', prefix .. 'shares', account)
  for _, each in ipairs(packed and cmsgpack.unpack(packed) or {}) do
    if each[1] > slot - SLOTS and each[1] <= slot then
      slots[#slots + 1] = each
      total = total + each[2]
      for mode, count in pairs(each[3]) do
        by_mode[mode] = (by_mode[mode] or 0) + count
      end
    end
  end
  return { slots = slots, total = total, by_mode = by_mode, slot = slot }
end

local function count_mode(prefix, account, share, mode)
  local last = share.slots[#share.slots]
  if not last or last[1] ~= share.slot then
    last = { share.slot, 0, {} }
    share.slots[#share.slots + 1] = last
  end
  last[2], last[3][mode] = last[2] + 1, (last[3][mode] or 0) + 1
  share.total, share.by_mode[mode] = share.total + 1, (share.by_mode[mode] or 0) + 1
  redis.call('HSET', prefix .. 'shares', account, cmsgpack.pack(share.slots))
end

-- Whether one more request of this mode would be more than its share, in millionths.
local function is_full(share, mode, millionths)
  return ((share.by_mode[mode] or 0) + 1) * 1000000 > millionths * (share.total + 1)
end

-- A limit comes as {account, requests a minute, tokens a minute, concurrency (0: none of these), milliseconds of a share's
-- slot, shares of modes in millionths or false}. Its state is looked up behind: requests, tokens, open, and the share.
local REQUESTS, TOKENS, OPEN, SHARE = 7, 8, 9, 10

local function look(prefix, scope, limit, now)
  limit[1] = scope .. limit[1]
  local at, requests, tokens, open = levels(prefix, limit[1])
  local passed = now > at and now - at or 0
  limit[REQUESTS] = max(requests - passed * limit[2], 0)
  limit[TOKENS] = max(tokens - passed * limit[3], 0)
  limit[OPEN] = open
  if limit[6] then
    limit[SHARE] = tally(prefix, limit[1], floor(now / limit[5]))
  end
end

-- To the reply: what is left of requests and tokens, each with the milliseconds until all of it is there again, then the
-- modes whose share is full, for each limit.
local function allowances(reply, claim)
  for i = 4, #claim do
    local limit = claim[i]
    local told = { UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED }
    if limit[2] > 0 then
      told[1] = max(floor(limit[2] - limit[REQUESTS] / UNIT), 0)
      told[2] = ceil(limit[REQUESTS] / limit[2])
    end
    if limit[3] > 0 then
      told[3] = max(floor(limit[3] - limit[TOKENS] / UNIT), 0)
      told[4] = ceil(limit[TOKENS] / limit[3])
    end
    for mode, millionths in pairs(limit[6] or {}) do
      if is_full(limit[SHARE], mode, millionths) then
        told[#told + 1] = mode
      end
    end
    reply[#reply + 1] = told
  end
  return reply
end

-- What refuses longest, if anything does: index of the limit, kind, milliseconds to wait (concurrency: UNLIMITED).
local function refusal(claim)
  local index, kind, longest = nil, nil, UNLIMITED - 1
  for i = 4, #claim do
    local limit = claim[i]
    local by_requests = limit[2] > 0 and wait(limit[2], limit[REQUESTS], UNIT) or 0
    local by_tokens = limit[3] > 0 and wait(limit[3], limit[TOKENS], UNIT * min(claim[2], limit[3])) or 0
    if by_requests > 0 and by_requests > longest then
      index, kind, longest = i - 4, 'requests', by_requests
    end
    if by_tokens > 0 and by_tokens > longest then
      index, kind, longest = i - 4, 'tokens', by_tokens
    end
    if limit[4] > 0 and limit[OPEN] >= limit[4] and UNLIMITED > longest then
      index, kind, longest = i - 4, 'concurrency', UNLIMITED
    end
  end
  return index, kind, longest
end

-- Whether every limit has room; nothing is written. The claim is JSON behind the stub's tab: {time in ms or 0, tokens at
-- most, mode or '' (a turn that goes on: it counts in no share), limit…}. time: the server's.
-- -> what `enter` writes, or nil and the reply: {-3, index, kind, ms, allowance…} or {-4, index, allowance…} for a share.
local function admit(prefix, scope, stub, time)
  local packed = string.match(stub, '\t(.*)$')
  if not packed then
    return nil
  end
  local claim = cjson.decode(packed)
  if claim[1] == 0 then
    claim[1] = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
  end
  for i = 4, #claim do
    look(prefix, scope, claim[i], claim[1])
  end
  local index, kind, ms = refusal(claim)
  if index then
    return nil, allowances({ -3, index, kind, ms }, claim)
  end
  for i = 4, #claim do
    local millionths = claim[i][6] and claim[i][6][claim[3]]
    if millionths and is_full(claim[i][SHARE], claim[3], millionths) then
      return nil, allowances({ -4, i - 4 }, claim)
    end
  end
  return claim
end

-- Takes what `admit` found room for -> begin's reply: 1, or {1, allowance…}.
local function enter(prefix, claim)
  if not claim then
    return 1
  end
  for i = 4, #claim do
    local limit = claim[i]
    if limit[2] + limit[3] + limit[4] > 0 then
      limit[REQUESTS] = limit[2] > 0 and limit[REQUESTS] + UNIT or 0
      limit[TOKENS] = limit[TOKENS] + UNIT * min(claim[2], limit[3])
      limit[OPEN] = limit[OPEN] + 1
      keep_levels(prefix, limit[1], claim[1], limit[REQUESTS], limit[TOKENS], limit[OPEN])
    end
    if limit[6] and claim[3] ~= '' then
      count_mode(prefix, limit[1], limit[SHARE], claim[3])
    end
  end
  return allowances({ 1 }, claim)
end

-- The request is over: it is open no more, and what it used takes the place of what it took. lease: its text, '' for
-- none. tokens: what it used; '': unknown, then what was taken stays; '-': nothing is counted that an end changes.
local function leave(prefix, scope, lease, tokens)
  local packed = tokens ~= '-' and string.match(lease, '^[^\n]*\n[^\n]*\n[^\n]*\n[^\n\t]*\t([^\n]*)')
  if not packed then
    return
  end
  local claim = cjson.decode(packed)
  for i = 4, #claim do
    local limit = claim[i]
    if limit[3] + limit[4] > 0 then
      local account = scope .. limit[1]
      local at, requests, level, open = levels(prefix, account)
      if at > 0 then -- else what it took was erased with its tenant
        if tokens ~= '' and limit[3] > 0 then
          local more = tonumber(tokens) - min(claim[2], limit[3])
          level = min(max(level + UNIT * more, 0), FULLEST)
        end
        keep_levels(prefix, account, at, requests, level, max(open - 1, 0))
      end
    end
  end
end
