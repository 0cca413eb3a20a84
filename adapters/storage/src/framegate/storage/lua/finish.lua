-- End a worker's attempt at a job, and claim its next one if tickets wait.
-- Arguments: id, worker, attempt, outcome (succeeded | failed | cancelled | requeued), artifacts or error as JSON, its
-- schema, the version that writes it, bytes of the artifacts, keys of their files as JSON, the job's model, for how many
-- seconds it ran, and how many units of work that was ('' if unknown); for a worker that takes another job if this one
-- has succeeded, the claimant as JSON and the queues whose tickets it takes, in their order.
-- Returns: {the job's state, or 'lost' if the attempt is not the current one; and then what `claim_next` does}.
local id, worker, attempt, outcome, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local stamp = {schema = ARGV[6], written_by = ARGV[7]}
local key = P .. 'job:' .. id

local function is_positive(value) return type(value) == 'number' and value > 0 and value < math.huge end

-- The average of what a job took and of what earlier ones took, later ones counting for more. A single one can't change
-- it by much, however long it took.
local function averaged(before, value, jobs)
  local weight = math.max(0.2, 1 / (jobs + 1))
  return before + weight * (math.max(before / 4, math.min(value, before * 4)) - before)
end

local function note_pace(model, seconds, work)
  if not (is_positive(seconds) and is_positive(work)) then return end
  local now, known = {seconds / work, seconds, 1}, decode_table(redis.call('HGET', P .. 'paces', model))
  if known and is_positive(known[1]) and is_positive(known[2]) and is_positive(known[3]) then
    now = {averaged(known[1], now[1], known[3]), averaged(known[2], now[2], known[3]), known[3] + 1}
  end
  redis.call('HSET', P .. 'paces', model, cjson.encode(now))
  redis.call('EXPIRE', P .. 'paces', 90 * 86400)
end

local function finish()
  local job = load(id)
  if not job or job.worker ~= worker or job.attempt ~= attempt then return 'lost' end
  if job.state ~= 'running' then return job.state end  -- a repeat: the first reply was lost
  if job.cancel ~= '' then outcome = 'cancelled' end
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
    note_pace(ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12]))
  end
  if outcome == 'failed' then set_result(id, job, 'error', payload, stamp) end
  close(id, job, outcome, stamp)
  return outcome
end

local state = finish()
if not ARGV[13] then return {state} end
if state ~= 'succeeded' then return {state, '', {}, {}} end  -- the worker first removes the attempt's files
return {state, claim_next({unpack(ARGV, 14)}, cjson.decode(ARGV[13]))}
