-- Note that a job's files have been removed, unless its record has been as well.
-- Arguments: id, time at which the job ended.
local P, id = KEYS[1], ARGV[1]
redis.call('ZREM', P .. 'finished', id)
if redis.call('EXISTS', P .. 'job:' .. id) == 1 then redis.call('ZADD', P .. 'records', ARGV[2], id) end
