-- id → how many jobs of its queue are served before it, plus one; nothing if it does not wait
local job = load(ARGV[1])
if not job or job.state ~= 'queued' then return false end
return position_of(job)
