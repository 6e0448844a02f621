-- What a request asks of its accounts as it begins, and what becomes of it as it ends.

-- A lease: owner tag, second at which it ends, scope, stub, what it reserved and what it took of limits, a line each.
local LEASE = '^([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n?([^\n]*)\n?(.*)$'

-- What a request asks of its accounts: `admit` and `room`, then `enter` and `reserve`, which cannot fail.
-- -> the second, begin's reply, what the lease says behind the stub, the refusal or nil.
local function enlist(prefix, scope, args, time)
  local now_ms = tonumber(args[13]) or tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
  local now, plan, tokens, mode = floor(now_ms / 1000), asked(args[9]), tonumber(args[11]), args[12]
  local all, bud, shares = read(prefix, scope, plan.names), prefix .. 'bud:' .. scope, prefix .. 'shares:' .. scope
  for k = 1, #plan.names do
    all[k] = all[k] or new_record()
  end
  local tallies, left_behind, refused, claim, money
  if plan.is_limited then
    tallies, refused = admit(shares, plan, all, tokens, mode, now_ms)
  end
  if not refused and args[10] ~= '' then
    left_behind, refused = room(bud, plan, all, tonumber(args[10]), now)
  end
  if refused then
    return nil, nil, nil, refused
  end
  if plan.is_limited then
    claim = enter(shares, plan, all, tallies, tokens, mode, now_ms)
  end
  if left_behind then
    money = reserve(bud, plan, all, left_behind, args[10], now)
  end
  write(prefix, scope, plan.names, all)
  local reply = plan.is_limited and allowances({ 1 }, plan, all, tallies) or 1
  return now, reply, '\n' .. (money or '') .. '\n' .. (claim or ''), nil
end

-- The end of a request, of its lease, false for none. cost and tokens as of `settle`.
-- -> the ledger entry, nil for none: what was charged, in which hour, and where, between tabs.
local function discharge(prefix, scope, lease, cost, tokens)
  local _, _, _, _, money, claim = string.match(lease or '', LEASE)
  local bound, hour, budgets = string.match(cost ~= '-' and money or '', '^(%d+)\t(%d+)(.*)$')
  local taken, began, caps = string.match(tokens ~= '-' and claim or '', '^(%d+) ?(%d*)(.*)$')
  local plan = ended((budgets or '') .. '\n' .. (caps or ''))
  if #plan.names == 0 then
    return nil
  end
  local all, charged = read(prefix, scope, plan.names), cost == '' and bound or cost
  if bound then
    charge(prefix .. 'bud:' .. scope, plan, all, bound, charged, tonumber(hour))
  end
  leave(plan, all, taken, tonumber(began or ''), tokens)
  write(prefix, scope, plan.names, all)
  return bound and charged .. '\t' .. hour .. budgets or nil
end
