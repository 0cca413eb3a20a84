-- Lease jobs whose files, or whose records, have been kept long enough.
-- Arguments: 'finished' (files) or 'records', for how many seconds they are kept, how many jobs at most, lease in
-- seconds.
-- Returns: {id, number in the order of submission, id, …}.
local index, kept_for, most, lease = P .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}
for _, id in ipairs(lease_expired(index, kept_for, most, lease)) do
  local job = load(id)
  if not job then
    drop_missing(id, '', '')
  elseif has_ended(job) then
    table.insert(found, id)
    table.insert(found, job.seq)
  else
    -- Another version has removed the record, and the id was used again.
    redis.call('ZREM', index, id)
  end
end
return found
