-- End a worker's attempt at a job.
-- Arguments: id, worker, attempt, outcome (succeeded | failed | cancelled | requeued), artifacts or error as JSON, its
-- schema, the version that writes it, bytes of the artifacts, keys of their files as JSON.
-- Returns: the job's state, or 'lost' if the attempt is not the current one.
local id, worker, attempt, outcome, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local stamp = {schema = ARGV[6], written_by = ARGV[7]}
local job = load(id)
if not job or job.worker ~= worker or job.attempt ~= attempt then return 'lost' end
if job.state ~= 'running' then return job.state end  -- a repeat: the first reply was lost
if job.cancel ~= '' then outcome = 'cancelled' end
local key = P .. 'job:' .. id
if outcome == 'requeued' then
  redis.call('HSET', key, 'attempt', job.attempt - 1)
  requeue(id, job)
  return 'queued'
end
if outcome == 'succeeded' then
  set_result(id, job, 'artifacts', payload, stamp)
  redis.call('HSET', key, 'progress', 1, 'result_files', ARGV[9])
  add_to_record(id, job.owner, #ARGV[9])
  -- While the job ran, only its inputs were stored.
  set_stored(id, job.owner, (integer_in(redis.call('HGET', key, 'stored')) or 0) + tonumber(ARGV[8]))
  count_usage(job.owner, 'result_bytes', tonumber(ARGV[8]))
end
if outcome == 'failed' then set_result(id, job, 'error', payload, stamp) end
close(id, job, outcome, stamp)
return outcome
