-- Which workers are alive, and which models were served lately.
-- Returns: {announcements as JSON, {model, seconds since a worker that serves it was seen, model, …}}.
local alive = {}
for _, worker in ipairs(redis.call('SMEMBERS', P .. 'workers')) do
  local announcement = redis.call('GET', P .. 'worker:' .. worker)
  if announcement then alive[#alive + 1] = announcement end
end
local seen = redis.call('ZRANGE', P .. 'seen', 0, -1, 'WITHSCORES')
for i = 2, #seen, 2 do seen[i] = tostring(NOW - tonumber(seen[i])) end
return {alive, seen}
