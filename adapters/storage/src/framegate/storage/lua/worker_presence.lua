-- Which workers are alive, and which models were served lately.
-- Returns: {announcements as JSON, {model, seconds since a worker that serves it was seen, model, …}}.
local silent = find_silent(redis.call('SMEMBERS', P .. 'listening'))
local alive, keys = {}, {}
for _, worker in ipairs(redis.call('SMEMBERS', P .. 'workers')) do
  if not silent[worker] then keys[#keys + 1] = P .. 'worker:' .. worker end
end
in_parts(keys, 1000, function(...)
  for _, announcement in ipairs(redis.call('MGET', ...)) do
    if announcement then alive[#alive + 1] = announcement end
  end
end)
local seen = redis.call('ZRANGE', P .. 'seen', 0, -1, 'WITHSCORES')
for i = 2, #seen, 2 do seen[i] = tostring(math.max(NOW - tonumber(seen[i]), 0)) end
return {alive, seen}
