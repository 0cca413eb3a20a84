-- Claim jobs. A claimant is a worker as it asks: ``worker`` (its id), ``names`` (those by which it may be drained, its id
-- among them), ``models`` (the ids of those that it serves), ``schema`` (the latest that it can read) and ``lease`` (in
-- seconds).

local function claimed_hash(id, attempt)
  local fields = redis.call('HGETALL', P .. 'job:' .. id)
  for _, part in ipairs({'id', id, 'attempt', attempt}) do table.insert(fields, part) end
  return fields
end

-- The job that the claimant has already, as the reply to an earlier claim was lost; nothing if it has none.
local function held_by(claimant)
  local held = redis.call('GET', P .. 'holds:' .. claimant.worker)
  local job = held and load(held)
  if job and job.state == 'running' and job.worker == claimant.worker then
    redis.call('ZADD', P .. 'leases', NOW + claimant.lease, held)
    return claimed_hash(held, job.attempt)
  end
end

-- Claim the next job of a queue, for which the claimant has a ticket. Returns the job's hash with its id and its
-- attempt, empty if there is none, and the ids of waiting jobs whose records were missing.
local function claim_in(queue, claimant)
  local models = {}
  for _, model in ipairs(claimant.models) do models[model] = true end
  local claim = new_claim(queue, models, claimant.schema)
  local id = next_in(claim)
  if not id and redis.call('ZCARD', P .. 'queued:' .. queue) ~= redis.call('HLEN', P .. 'waiting:' .. queue) then
    mend_queue(claim, queue)
    id = next_in(claim)
  end
  if not id then
    -- The ticket that led here may have been for another worker, which waits in line behind this one.
    if is_work_for_others(claim) then replace_tickets(queue, 1) end
    return {}, claim.missing
  end
  local job = load(id)
  leave_lane(id, job)
  mark_served(job)
  enter_groups(id, job)
  redis.call('HSET', P .. 'claimed', id, job.lane)
  replace_tickets(job.queue, 1)
  -- While there was no lease there was nothing to sweep, so nobody has been silent.
  if redis.call('EXISTS', P .. 'leases') == 0 then redis.call('SET', P .. 'swept', NOW) end
  redis.call('ZADD', P .. 'leases', NOW + claimant.lease, id)
  redis.call('SET', P .. 'holds:' .. claimant.worker, id, 'EX', 86400)
  redis.call('HSET', P .. 'job:' .. id, 'worker', claimant.worker, 'attempt', job.attempt + 1, 'started_at', NOW,
    'progress', 0, 'message', '')
  set_state(id, job, 'queued', 'running')
  return claimed_hash(id, tostring(job.attempt + 1)), claim.missing
end

-- Take the first ticket of these queues, if there is one, and claim the job that it stands for. Returns the name of the
-- queue, '' if there was no ticket, and what `claim_in` does.
local function claim_next(queues, claimant)
  local held = held_by(claimant)
  if held then return '', held, {} end
  if is_drained(claimant.names) then return '', {}, {} end
  for _, queue in ipairs(queues) do
    if redis.call('LPOP', P .. 'tickets:' .. queue) then return queue, claim_in(queue, claimant) end
  end
  return '', {}, {}
end
