-- Count the jobs of a job's queue that are served before it.
-- Arguments: id.
-- Returns: their number plus one, or nothing if the job does not wait.
local job = load(ARGV[1])
if not job or job.state ~= 'queued' then return false end
return position_of(job)
