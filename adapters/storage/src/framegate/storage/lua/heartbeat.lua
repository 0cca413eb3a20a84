-- Renew a worker's leases, note how far its jobs are, and announce it.
-- Arguments: worker, lease in seconds, seconds between two sweeps, its announcement as JSON or '', for how many
-- milliseconds that holds, '1' if the worker listens to its channel; then for each of its jobs: id, attempt, progress
-- or '', message.
-- Returns: {1 if a sweep is due, 1 if the worker is announced, then for each job 'ok' | 'cancel' | 'lost'}.
local worker, lease, interval, announcement = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local function renew(id, attempt, reported, message)
  local key = P .. 'job:' .. id
  local job = redis.pcall('HMGET', key, 'state', 'worker', 'attempt', 'cancel', 'progress')
  if job[1] ~= 'running' or job[2] ~= worker or job[3] ~= attempt then return 'lost' end
  change_in_memory(function()
    redis.call('ZADD', P .. 'leases', NOW + lease, id)
    if reported == '' then return end
    local progress = math.max(number_in(job[5]) or 0, math.min(1, tonumber(reported)))
    redis.call('HSET', key, 'progress', progress, 'message', message)
  end)
  if reported ~= '' then
    publish('changed', id)
  end
  return (job[4] and job[4] ~= '') and 'cancel' or 'ok'
end
if redis.call('HEXISTS', P .. 'begun_loads', worker) == 1 then
  change_in_memory(function() redis.call('ZADD', P .. 'begun_loads:beats', NOW, worker) end)
end
if announcement ~= '' then announce(worker, announcement, ARGV[5], ARGV[6] == '1') end
local answer = {is_due(interval) and 1 or 0, redis.call('EXISTS', P .. 'worker:' .. worker)}
for i = 7, #ARGV, 4 do answer[#answer + 1] = renew(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
return answer
