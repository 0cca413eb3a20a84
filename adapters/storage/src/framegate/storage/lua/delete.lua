-- Delete a job: cancel it if it has not ended, and hide its record until retention removes it.
-- Arguments: id.
-- Returns: the job's hash as it was before and its state, or nothing.
local id = ARGV[1]
local job = load(id)
if not job or job.deleted ~= '' then return {} end
local key = P .. 'job:' .. id
local before = redis.call('HGETALL', key)
for _, part in ipairs({'state', job.state}) do table.insert(before, part) end
hide(id, job)
redis.call('HSET', key, 'deleted', '1')
job.deleted = '1'
if job.state == 'queued' then
  close(id, job, 'cancelled')
elseif job.state == 'running' then
  request_cancel(id, job)
else
  redis.call('HSET', key, 'finished_at', 0)
  redis.call('ZREM', P .. 'records', id)
  redis.call('ZADD', P .. 'finished', 0, id)
end
changed(id)
return before
