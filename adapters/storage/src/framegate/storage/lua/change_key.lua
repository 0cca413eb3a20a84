-- Add, replace or remove an API key.
-- Arguments: name, the key as JSON before ('' for none), the key as JSON after ('' for none).
-- Returns: 1, or 0 if it is not as it was before.
local name, before, after = ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('HGET', P .. 'keys', name) or ''
-- As it should be: the client library repeats a call whose reply was lost.
if known == after then return 1 end
if known ~= before then return 0 end
if after == '' then
  redis.call('HDEL', P .. 'keys', name)
  redis.call('HDEL', P .. 'keys:used', name)
else
  redis.call('HSET', P .. 'keys', name, after)
end
-- It is never removed: a server that once had keys stays closed to those without one. As it is also a time, in
-- milliseconds, a change that follows a restart with older data gets no version that there was before.
local version = math.max(tonumber(redis.call('GET', P .. 'keys:version') or 0) + 1, math.floor(NOW * 1000))
redis.call('SET', P .. 'keys:version', string.format('%.0f', version))
publish('keys:changed', string.format('%.0f', version))
return 1
