-- A script, run for each account of an erasure. KEYS: the records of an organisation's accounts, their shares, and the
-- windows of this one that are apart. ARGV: the account, and 'budgets' if what it spent goes too. What open requests hold
-- stays: their ends take it away.
-- -> how many went: of shares, of counts by limits, of accounts of budgets.
local PACKED, UNUSED, SPILLED = '<dddddddddddd', -2, -1
local AT, REQUESTS, TOKENS, OPEN = 8, 9, 10, 11
local gone, record = redis.call('HDEL', KEYS[2], ARGV[1]), redis.call('HGET', KEYS[1], ARGV[1])
local r = record and { struct.unpack(PACKED, record) } or { 0, -2, -2, -2, -2, -2, -2, 0, 0, 0, 0, 0 }
local before = table.concat(r, ' ', 1, 12)

-- A window goes, but for what is reserved in it; one that is apart while its record says so has to stay there.
local function forget_spending()
  local is_spilled, found = r[2] == SPILLED or r[4] == SPILLED or r[6] == SPILLED, 0
  for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
    local window = string.match(field, '^(.*):spent$')
    if window and (is_spilled or redis.call('HGET', KEYS[3], window .. ':reserved') ~= '0') then
      redis.call('HSET', KEYS[3], field, '0')
    elseif window then
      redis.call('HDEL', KEYS[3], field, window .. ':reserved')
    end
    found = 1
  end
  for at = 2, 6, 2 do
    if r[at] >= 0 then
      r[at], r[at + 1], found = r[at + 1] > 0 and 0 or UNUSED, r[at + 1] > 0 and r[at + 1] or UNUSED, 1
    end
  end
  return found
end

if r[REQUESTS] > 0 or r[TOKENS] > 0 or (r[AT] > 0 and r[OPEN] == 0) then
  gone = gone + 1
end
r[AT], r[REQUESTS], r[TOKENS] = 0, 0, 0
if ARGV[2] == 'budgets' then
  gone = gone + forget_spending()
end
if record and r[OPEN] == 0 and r[2] == UNUSED and r[4] == UNUSED and r[6] == UNUSED then
  redis.call('HDEL', KEYS[1], ARGV[1])
elseif record and table.concat(r, ' ', 1, 12) ~= before then
  redis.call('HSET', KEYS[1], ARGV[1], struct.pack(PACKED, unpack(r, 1, 12)))
end
return gone
