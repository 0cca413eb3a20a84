-- Requeue or fail the jobs whose workers' leases have expired, and replace lost tickets.
-- Arguments: maximum number of attempts at a job, error of a job that has had them as JSON, maximum number of tickets
-- to push for a queue, seconds without a sweep after which workers get another lease, lease in seconds, schema of the
-- error, the version that writes it.
-- Returns: {number of jobs whose worker died, number of tickets pushed, ids of waiting jobs whose records were missing}.
local stamp = {schema = ARGV[6], written_by = ARGV[7]}
local last = tonumber(redis.call('GET', P .. 'swept') or 0)
redis.call('SET', P .. 'swept', NOW)
if NOW - last > tonumber(ARGV[4]) then
  -- Nobody could reach this server, so a worker whose lease ran out may well live.
  local lease = NOW + tonumber(ARGV[5])
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', lease)) do
    redis.call('ZADD', P .. 'leases', lease, id)
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
  elseif tonumber(job.attempt) >= tonumber(ARGV[1]) then
    set_result(id, 'error', ARGV[2], stamp)
    close(id, job, 'failed', stamp)
  else
    requeue(id, job)
  end
end
local lost = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', NOW, 'LIMIT', 0, 1000)
for _, id in ipairs(lost) do recover(id) end
local added, repair = 0, new_repair()
mend_closed_lanes()
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  mend_queue(repair, queue)
  added = added + replace_tickets(queue, tonumber(ARGV[3]))
end
return {#lost, added, repair.missing}
