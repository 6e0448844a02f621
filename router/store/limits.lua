-- Rate limits, concurrency and shares of modes, counted in the call that opens a request and corrected in the one that
-- closes it. An account's record has requests and tokens that are used, in 60000ths of one: at a limit of L a minute L of
-- them leak each millisecond and 60000·L fill it: whole numbers, exact below 2^53. `…shares` has the requests by mode.
-- What a request took is in its lease: who ends it, and be it for a gateway that died, gives back what was not used.
-- Source: ITU-T I.371 (03/2004), Annex A, the Generic Cell Rate Algorithm as a continuous-state leaky bucket.

local UNIT, MINUTE_MS, SLOTS, FULLEST = 60000, 60000, 12, 9e15
local UNLIMITED = -1
local TOLD = '>llll'

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

-- Hosts may have different limits of one account while their configuration changes, so a level is the account's and no
-- limit's: it is never cut. One above a full bucket of the limit that asks counts there as a full one, which leaks from
-- the record's last change on, so nobody waits longer than that; the level itself leaks then as fast as empties it in a
-- minute.
-- Invariant: whoever asks in turn, what passes is at most what the highest of their limits, H, would let pass alone. For a
-- level is at most a full bucket of H, and so none leaks faster than H; a lower limit L lets N pass a level above its own
-- bucket only N/L minutes after its last change, in which more than N leaked of it. And where only L asks, no more passes
-- than ever does of L: what it counts of a level is never above that.
-- Tokens can be owed beyond every bucket, which is no sign of a higher limit: `highest` tells which there was.
-- per_minute: of who asks, above a full bucket of which the level is. highest: that it came up by. passed: milliseconds
-- -> the level now, and what is not counted.
local function leaked(per_minute, highest, level, passed)
  local counted, rate = UNIT * per_minute, level / UNIT
  if rate > highest then -- what is owed is as many minutes' worth for every limit
    counted, rate = ceil(level / highest * per_minute), highest
  end
  local now = max(level - ceil(passed * rate), 0)
  return now, max(now - max(counted - passed * per_minute, 0), 0)
end

-- Milliseconds until `more` fits; 0: it does.
local function wait(per_minute, level, more)
  local over = level + more - UNIT * per_minute
  return over > 0 and ceil(over / per_minute) or 0
end

-- Requests by mode in the last window, which slides by a twelfth of itself: the slots that count, all, by mode.
local function tally(shares, account, slot)
  local slots, total, by_mode, packed = {}, 0, {}, redis.call('HGET', shares, account)
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

local function count_mode(shares, account, tallied, mode)
  local last = tallied.slots[#tallied.slots]
  if not last or last[1] ~= tallied.slot then
    last = { tallied.slot, 0, {} }
    tallied.slots[#tallied.slots + 1] = last
  end
  last[2], last[3][mode] = last[2] + 1, (last[3][mode] or 0) + 1
  tallied.total, tallied.by_mode[mode] = tallied.total + 1, (tallied.by_mode[mode] or 0) + 1
  redis.call('HSET', shares, account, cmsgpack.pack(tallied.slots))
end

-- Whether one more request of this mode would be more than its share, in millionths.
local function is_full(tallied, mode, millionths)
  return ((tallied.by_mode[mode] or 0) + 1) * 1000000 > millionths * (tallied.total + 1)
end

-- To the reply: of each limit what is left of requests and tokens, each with the milliseconds until all of it is there
-- again, packed; then place and mode of each share that is full.
local function allowances(reply, plan, all, tallies)
  local told, at, full = '', #reply + 1, #reply + 1
  for k = 1, #plan.names do
    local rate, r = plan.rates[k], all[k]
    if rate then
      local requests, tokens = rate.requests > 0, rate.tokens > 0
      local by_requests, by_tokens = r[REQUESTS] - (r[REQUESTS_APART] or 0), r[TOKENS] - (r[TOKENS_APART] or 0)
      told = told
        .. struct.pack(
          TOLD,
          requests and max(floor(rate.requests - by_requests / UNIT), 0) or UNLIMITED,
          requests and ceil(by_requests / rate.requests) or UNLIMITED,
          tokens and max(floor(rate.tokens - by_tokens / UNIT), 0) or UNLIMITED,
          tokens and ceil(by_tokens / rate.tokens) or UNLIMITED
        )
      for mode, millionths in pairs(rate.shares or {}) do
        if is_full(tallies[k], mode, millionths) then
          reply[full + 1], reply[full + 2], full = k - 1, mode, full + 2
        end
      end
    end
  end
  reply[at] = told
  return reply
end

-- What refuses longest, if anything does: place of the limit from 0, kind, milliseconds to wait (concurrency: UNLIMITED).
local function longest_wait(plan, all, tokens)
  local place, kind, longest = nil, nil, UNLIMITED - 1
  for k = 1, #plan.names do
    local rate, r = plan.rates[k], all[k]
    if rate then
      local by_requests, by_tokens = r[REQUESTS] - (r[REQUESTS_APART] or 0), r[TOKENS] - (r[TOKENS_APART] or 0)
      by_requests = rate.requests > 0 and wait(rate.requests, by_requests, UNIT) or 0
      by_tokens = rate.tokens > 0 and wait(rate.tokens, by_tokens, UNIT * min(tokens, rate.tokens)) or 0
      if by_requests > 0 and by_requests > longest then
        place, kind, longest = k - 1, 'requests', by_requests
      end
      if by_tokens > 0 and by_tokens > longest then
        place, kind, longest = k - 1, 'tokens', by_tokens
      end
      if rate.open > 0 and r[OPEN] >= rate.open and UNLIMITED > longest then
        place, kind, longest = k - 1, 'concurrency', UNLIMITED
      end
    end
  end
  return place, kind, longest
end

-- Whether every limit has room; nothing is written, but levels in the records leak until now.
-- mode: '' for a turn that goes on, which counts in no share. now: milliseconds.
-- -> tallies of shares by account's place; the refusal, or nil: {-3, place, kind, ms, …} or {-4, place, …} for a share,
-- with `allowances` behind.
local function admit(shares, plan, all, tokens, mode, now)
  local tallies = {}
  for k = 1, #plan.names do
    local rate, r = plan.rates[k], all[k]
    if rate then
      local passed = now - r[AT]
      if passed < -MINUTE_MS then -- the clock was ahead; what was taken by it would stay until it is there again
        r[AT], r[REQUESTS], r[TOKENS] = now, 0, 0
      end
      r[AT], passed = max(now, r[AT]), max(passed, 0)
      r[RATE] = max(r[RATE], rate.tokens)
      if r[REQUESTS] <= UNIT * rate.requests then
        r[REQUESTS] = max(r[REQUESTS] - passed * rate.requests, 0)
      else
        r[REQUESTS], r[REQUESTS_APART] = leaked(rate.requests, math.huge, r[REQUESTS], passed)
      end
      if r[TOKENS] <= UNIT * rate.tokens then
        r[TOKENS] = max(r[TOKENS] - passed * rate.tokens, 0)
      else
        r[TOKENS], r[TOKENS_APART] = leaked(rate.tokens, max(r[RATE], 1), r[TOKENS], passed)
      end
      tallies[k] = rate.shares and tally(shares, plan.names[k], floor(now / rate.slot_ms))
    end
  end
  local place, kind, ms = longest_wait(plan, all, tokens)
  if place then
    return tallies, allowances({ -3, place, kind, ms }, plan, all, tallies)
  end
  for k = 1, #plan.names do
    local millionths = tallies[k] and plan.rates[k].shares[mode]
    if millionths and is_full(tallies[k], mode, millionths) then
      return tallies, allowances({ -4, k - 1 }, plan, all, tallies)
    end
  end
  return tallies, nil
end

-- Takes what `admit` found room for -> what the lease says of it: tokens, the millisecond and, where its end counts, where.
local function enter(shares, plan, all, tallies, tokens, mode, now)
  for k = 1, #plan.names do
    local rate, r = plan.rates[k], all[k]
    if rate then
      r[REQUESTS] = r[REQUESTS] + (rate.requests > 0 and UNIT or 0)
      r[TOKENS] = r[TOKENS] + UNIT * min(tokens, rate.tokens)
      if r[TOKENS] <= UNIT * rate.tokens then
        r[RATE] = rate.tokens -- nothing is left of what a higher limit let in
      end
      r[OPEN] = r[OPEN] + (rate.ends and 1 or 0)
      if tallies[k] and mode ~= '' then
        count_mode(shares, plan.names[k], tallies[k], mode)
      end
    end
  end
  return string.format('%d %d', tokens, now) .. plan.caps
end

-- The request is over: it is open no more, and what it used takes the place of what it took, in the records of `plan`,
-- which `ended` made. Of a full bucket that much is left as did not leak between its begin and the record's last change;
-- no more is given back, for what is above that others took since.
-- began: milliseconds, nil in a lease of an earlier version. used: '' for unknown, then what was taken stays.
local function leave(plan, all, taken, began, used)
  for k, cap in pairs(plan.caps) do
    local r = all[k]
    if r then
      if used ~= '' and cap > 0 and r[AT] > 0 then -- 0: what it took was erased with its tenant, but for its place
        local more, passed = UNIT * (tonumber(used) - min(tonumber(taken), cap)), r[AT] - (began or r[AT])
        local kept = passed >= 0 and cap * max(MINUTE_MS - passed, 0) or 0 -- before: the clock was set back, and it began anew
        r[TOKENS] = min(max(r[TOKENS] + max(more, -kept), 0), FULLEST)
      end
      r[OPEN] = max(r[OPEN] - 1, 0)
    end
  end
end
