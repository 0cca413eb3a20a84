-- Requeue or fail the jobs whose workers' leases have expired, replace lost tickets, forget dead workers, and mend what
-- processes of other versions left out of the indexes.
-- Arguments: maximum number of attempts at a job, error of a job that has had them as JSON, seconds that must have
-- passed since the last sweep, seconds without a sweep after which workers get another lease, lease in seconds,
-- schema of the error, the version that writes it.
-- Returns: {number of jobs whose worker died, number of tickets pushed, ids of waiting jobs whose records were missing}.
local stamp = {schema = ARGV[6], written_by = ARGV[7]}
local most, no_worker, interval, most_silent = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lease = NOW + tonumber(ARGV[5])

-- Nobody could reach this server, so a worker whose lease ran out may well live: it gets another one. Only one for
-- each that it took itself, or sweeps that are always late would never find a dead worker. After another restart, of
-- which renewals leave no trace, it gets one again.
local function extend_leases()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', lease)) do
    local key = P .. 'job:' .. id
    if load(id) and redis.call('HGET', key, 'extended') ~= redis.call('ZSCORE', P .. 'leases', id) then
      redis.call('ZADD', P .. 'leases', lease, id)
      redis.call('HSET', key, 'extended', redis.call('ZSCORE', P .. 'leases', id))
    end
  end
end

local function recover(id)
  local job = load(id)
  if not job then
    drop_missing(id, '', '')
  elseif job.state ~= 'running' then
    redis.call('ZREM', P .. 'leases', id)
  elseif job.cancel ~= '' then
    close(id, job, 'cancelled')
  elseif tonumber(job.attempt) >= most then
    set_result(id, job, 'error', no_worker, stamp)
    close(id, job, 'failed', stamp)
  else
    requeue(id, job)
  end
end

-- A queue in which nothing waits is no longer listed: whoever submits to it next lists it again.
local function settle_tickets(queues)
  local pushed = 0
  for _, queue in ipairs(queues) do
    remove_old_tickets(queue)
    if redis.call('EXISTS', P .. 'queued:' .. queue, P .. 'waiting:' .. queue) > 0 then
      pushed = pushed + replace_tickets(queue, MOST_TICKETS)
    else
      redis.call('SREM', P .. 'queues', queue)
    end
    drop_tickets(queue)
  end
  return pushed
end

if not is_idle() and interval > 0 and not is_due(interval) then return {0, 0, {}} end  -- somebody else has just swept
forget_dead_workers()
if is_idle() then return {0, 0, {}} end
local silent_for = silence()
note_sweep()
-- A lease that ends later than any could is from before the clock was put back.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '(' .. lease, '+inf')) do
  redis.call('ZADD', P .. 'leases', lease, id)
end
if silent_for > most_silent then change_in_memory(extend_leases) end
local lost = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', NOW, 'LIMIT', 0, 1000)
for _, id in ipairs(lost) do recover(id) end
local repair, queues = new_repair(), redis.call('SMEMBERS', P .. 'queues')
mend_closed_lanes()
mend_queues(repair, queues)
mend_states(repair, queues, lease)
return {#lost, settle_tickets(queues), repair.missing}
