-- Lease some of the requests that a key or an address may send within a minute.
-- Arguments: name, the most within any minute, the most within a second (0: any number), how many are wanted.
-- Returns: {number granted, seconds until there is one again if none was}.
--
-- rate:NAME is a hash of the seconds of the last minute, each with the number that was granted in it. Whatever was
-- granted in a second counts until a whole minute after its end. One to come is from before the clock was put back.
local key, limit, burst, wanted = P .. 'rate:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local second, used, oldest = math.floor(NOW), 0, nil
local granted = redis.call('HGETALL', key)
for i = 1, #granted, 2 do
  local at, count = tonumber(granted[i]), tonumber(granted[i + 1])
  if at <= second - 61 or at > second then
    redis.call('HDEL', key, granted[i])
  else
    used = used + count
    oldest = math.min(oldest or at, at)
  end
end
local free = limit - used
if free <= 0 then return {0, tostring(oldest + 61 - NOW)} end
if burst > 0 then
  free = math.min(free, burst - tonumber(redis.call('HGET', key, second) or 0))
  if free <= 0 then return {0, tostring(second + 1 - NOW)} end
end
-- The less there is, the smaller the slices: what one process keeps, another can't use.
local number = math.min(wanted, math.ceil(free / 8))
redis.call('HINCRBY', key, second, number)
redis.call('EXPIRE', key, 62)
return {number, '0'}
