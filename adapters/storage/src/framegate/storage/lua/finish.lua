-- id, worker, attempt, outcome (succeeded | failed | cancelled | handed_back), artifacts or error as JSON
-- → the job's state, or 'lost'
local id, worker, attempt, outcome, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = load(id)
if not job or job.worker ~= worker or job.attempt ~= attempt then return 'lost' end
if job.state ~= 'running' then return job.state end  -- said before; that answer was lost
if job.cancel ~= '' then outcome = 'cancelled' end
local key = P .. 'job:' .. id
if outcome == 'handed_back' then
  redis.call('HSET', key, 'attempt', job.attempt - 1)
  requeue(id, job)
  return 'queued'
end
if outcome == 'succeeded' then redis.call('HSET', key, 'artifacts', payload, 'progress', 1) end
if outcome == 'failed' then redis.call('HSET', key, 'error', payload) end
close(id, job, outcome)
return outcome
