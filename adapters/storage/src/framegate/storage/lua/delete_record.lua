-- Remove the record of a job that has ended, and all that points at it.
-- Arguments: id.
local id = ARGV[1]
local job = load(id)
if job and (job.state == 'queued' or job.state == 'running') then return end
redis.call('ZREM', P .. 'finished', id)
redis.call('ZREM', P .. 'records', id)
if not job then return drop_missing(id, '', '') end
hide(id, job)
redis.call('ZREM', P .. 'state:' .. job.state, id)
redis.call('DEL', P .. 'job:' .. id)
