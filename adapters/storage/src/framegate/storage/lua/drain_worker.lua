-- Drain workers, or let them take jobs again.
-- Arguments: their name (``operations.lua`` says which there are), '1' to drain them.
if ARGV[2] == '1' then
  redis.call('HSETNX', P .. 'drained', ARGV[1], NOW)
else
  redis.call('HDEL', P .. 'drained', ARGV[1])
end
-- Those that were only taken for dead come back drained, so entries of the dead stay; not for ever.
local entries = redis.call('HGETALL', P .. 'drained')
for i = 1, #entries, 2 do
  local name, is_old = entries[i], NOW - (tonumber(entries[i + 1]) or 0) > 86400
  local is_id = #name == 32 and string.find(name, '^%x+$')
  if is_id and is_old and redis.call('SISMEMBER', P .. 'workers', name) == 0 then
    redis.call('HDEL', P .. 'drained', name)
  end
end
