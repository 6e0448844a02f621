-- A script, run once for an erasure: what the account ARGV[1] spent goes. KEYS[1] is the hash of packed sums, KEYS[2] that
-- of its other windows, both as in `ledger.lua`. What is open stays reserved, a slice's or a request's: it is given back
-- when that ends, and would be taken from what others reserve if it were not there then.
-- -> how many of the two went whole.
local PACKED, PADDING = '<dddddddc16', '----------------'
local gone, packed = 0, redis.call('HGET', KEYS[1], ARGV[1])
if packed then
  local s, reserved = { struct.unpack(PACKED, packed) }, 0
  for at = 2, 6, 2 do
    if s[at] >= 0 then -- else it is not counted here
      s[at], reserved = 0, reserved + s[at + 1]
    end
  end
  if reserved > 0 then
    local kept = struct.pack(PACKED, s[1], s[2], s[3], s[4], s[5], s[6], s[7], PADDING)
    redis.call('HSET', KEYS[1], ARGV[1], kept)
  else
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[1])
  end
end
local there = redis.call('EXISTS', KEYS[2])
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  local window = string.match(field, '^(.*):spent$')
  if window and tonumber(redis.call('HGET', KEYS[2], window .. ':reserved') or '0') > 0 then
    redis.call('HSET', KEYS[2], field, '0')
  elseif window then
    redis.call('HDEL', KEYS[2], field, window .. ':reserved')
  end
end
return gone + there - redis.call('EXISTS', KEYS[2])
