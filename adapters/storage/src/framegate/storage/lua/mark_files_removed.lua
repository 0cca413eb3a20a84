-- Note that the files of jobs have been removed. A job that was removed meanwhile is left out, and so is another one
-- that has its id by now.
-- Arguments: id, number in the order of submission, and so on for each.
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  local job = load_ended(id, ARGV[i + 1])
  if job then
    redis.call('ZREM', P .. 'finished', id)
    local ended = number_in(redis.call('HGET', P .. 'job:' .. id, 'finished_at')) or NOW
    redis.call('ZADD', P .. 'records', math.min(ended, NOW), id)
    set_stored(id, job.owner, 0)
  end
end
