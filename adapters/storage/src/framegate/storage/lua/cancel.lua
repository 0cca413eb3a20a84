-- Cancel a waiting job, or ask the worker of a running one to stop.
-- Arguments: id.
-- Returns: the job's state afterwards, or nothing if there is no such job.
local id = ARGV[1]
local job = load(id)
if not job or job.deleted ~= '' then return false end
if job.state == 'queued' then
  close(id, job, 'cancelled')
  return 'cancelled'
end
if job.state == 'running' and job.cancel == '' then
  request_cancel(id, job)
  changed(id)
end
return job.state
