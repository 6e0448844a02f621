-- A script, run once for an erasure: writes the log stream KEYS[1] anew without the rows of ARGV[1] (organisation) and
-- ARGV[2] (tenant). XDEL alone would only mark them: their bytes would stay in memory and in every file written from it.
-- -> how many rows went.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end

local function is_theirs(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'j' then
      local whole, row = pcall(cjson.decode, fields[i + 1])
      return whole and type(row) == 'table' and row.organisation == ARGV[1] and row.tenant == ARGV[2]
    end
  end
  return false
end

local last
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    last = info[i + 1]
  end
end
local entries, gone = redis.call('XRANGE', KEYS[1], '-', '+'), 0
redis.call('DEL', KEYS[1])
redis.call('XGROUP', 'CREATE', KEYS[1], 'none', '$', 'MKSTREAM') -- the one way to make an empty stream
redis.call('XGROUP', 'DESTROY', KEYS[1], 'none')
for _, entry in ipairs(entries) do
  if is_theirs(entry[2]) then
    gone = gone + 1
  else
    redis.call('XADD', KEYS[1], entry[1], unpack(entry[2]))
  end
end
redis.call('XSETID', KEYS[1], last) -- ids go on where they were: readers remember how far they came
return gone
