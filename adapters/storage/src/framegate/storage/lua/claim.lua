-- Claim the next job for a worker.
-- Arguments: queue, worker, lease in seconds, the worker's models as JSON, the latest schema that it can read, the
-- worker's names …
-- Returns: {the job's hash, its id and its attempt, or nothing; ids of waiting jobs whose records were missing}.
local queue, worker, lease, models, schema = ARGV[1], ARGV[2], tonumber(ARGV[3]), {}, tonumber(ARGV[5])
for _, model in ipairs(cjson.decode(ARGV[4])) do models[model] = true end
local function answer(id, attempt)
  local fields = redis.call('HGETALL', P .. 'job:' .. id)
  for _, part in ipairs({'id', id, 'attempt', attempt}) do table.insert(fields, part) end
  return fields
end
local held = redis.call('GET', P .. 'holds:' .. worker)
if held then
  local job = load(held)
  if job and job.state == 'running' and job.worker == worker then
    redis.call('ZADD', P .. 'leases', NOW + lease, held)
    return {answer(held, job.attempt), {}}  -- the reply to an earlier claim was lost
  end
end
if is_drained({unpack(ARGV, 6)}) then
  replace_tickets(queue, 1)  -- the one that led here is for another worker
  return {{}, {}}
end
local claim = new_claim(queue, models, schema)
local id = next_in(claim)
if not id and redis.call('ZCARD', P .. 'queued:' .. queue) ~= redis.call('HLEN', P .. 'waiting:' .. queue) then
  mend_queue(claim, queue)
  id = next_in(claim)
end
if not id then
  -- The ticket that led here may have been for another worker, which waits in line behind this one.
  if is_work_for_others(claim) then replace_tickets(queue, 1) end
  return {{}, claim.missing}
end
local job = load(id)
leave_lane(id, job)
mark_served(job)
enter_groups(id, job)
redis.call('HSET', P .. 'claimed', id, job.lane)
replace_tickets(job.queue, 1)
-- While there was no lease there was nothing to sweep, so nobody has been silent.
if redis.call('EXISTS', P .. 'leases') == 0 then redis.call('SET', P .. 'swept', NOW) end
redis.call('ZADD', P .. 'leases', NOW + lease, id)
redis.call('SET', P .. 'holds:' .. worker, id, 'EX', 86400)
redis.call('HSET', P .. 'job:' .. id, 'worker', worker, 'attempt', job.attempt + 1, 'started_at', NOW,
  'progress', 0, 'message', '')
set_state(id, job, 'queued', 'running')
return {answer(id, tostring(job.attempt + 1)), claim.missing}
