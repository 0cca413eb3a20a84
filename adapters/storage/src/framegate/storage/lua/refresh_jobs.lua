-- Read jobs, and of those that the caller knows only what changes.
-- Arguments: how many of the fields never change, how many fields there are, the fields, those that never change first;
-- then for each job its id and the number of the one that is known, or ''.
-- Returns: for each job the values of the fields; those that change, if it is the known one.
local constant, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local found = {}
for i = count + 3, #ARGV, 2 do
  local key = KEYS[1] .. 'job:' .. ARGV[i]
  local is_known = ARGV[i + 1] ~= '' and redis.pcall('HGET', key, 'seq') == ARGV[i + 1]
  found[#found + 1] = redis.pcall('HMGET', key, unpack(ARGV, is_known and 3 + constant or 3, count + 2))
end
return found
