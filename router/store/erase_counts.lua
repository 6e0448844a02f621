-- A script, run for each account of an erasure: KEYS are the records of accounts and the shares of an organisation. What
-- limits count of the account ARGV[1] goes; its money stays, seven doubles at the beginning of its record.
-- -> how many counts went.
local gone, record = redis.call('HDEL', KEYS[2], ARGV[1]), redis.call('HGET', KEYS[1], ARGV[1])
if not record then
  return gone
end
local money, counts = string.sub(record, 1, 56), string.sub(record, 57)
local unused = string.rep(struct.pack('<d', -2), 6)
if string.sub(money, 9) == unused then
  return gone + redis.call('HDEL', KEYS[1], ARGV[1])
end
local none = string.rep('\0', 32)
if counts ~= none then
  redis.call('HSET', KEYS[1], ARGV[1], money .. none)
  gone = gone + 1
end
return gone
