-- Remove the records of jobs that have ended, and all that points at them. A job that was removed already is left out,
-- and so is another one that has its id by now.
-- Arguments: id, number in the order of submission, and so on for each.
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  local job = load_ended(id, ARGV[i + 1])
  if job then
    redis.call('ZREM', P .. 'finished', id)
    redis.call('ZREM', P .. 'records', id)
    hide(id, job)
    redis.call('ZREM', P .. 'state:' .. job.state, id)
    redis.call('HDEL', P .. 'claimed', id)  -- where another version has ended it
    -- A large record is freed in the background.
    redis.call('UNLINK', P .. 'job:' .. id)
  elseif redis.call('EXISTS', P .. 'job:' .. id) == 0 then
    drop_missing(id, '', '')
  end
end
