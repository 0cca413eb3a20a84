-- Renew a worker's lease on its job, and note how far the job is.
-- Arguments: id, worker, attempt, lease in seconds, progress or '', message.
-- Returns: 'ok' | 'cancel' | 'lost'.
local id = ARGV[1]
local job = load(id)
if not job or job.state ~= 'running' or job.worker ~= ARGV[2] or job.attempt ~= ARGV[3] then return 'lost' end
redis.call('ZADD', P .. 'leases', NOW + tonumber(ARGV[4]), id)
if ARGV[5] ~= '' then
  local progress = math.max(tonumber(job.progress), math.min(1, tonumber(ARGV[5])))
  redis.call('HSET', P .. 'job:' .. id, 'progress', progress, 'message', ARGV[6])
  changed(id)
end
if job.cancel ~= '' then return 'cancel' end
return 'ok'
