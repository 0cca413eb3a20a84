-- Note that a job's files have been removed, unless its record has been as well.
-- Arguments: id, time at which the job ended.
local id = ARGV[1]
redis.call('ZREM', P .. 'finished', id)
local owner = redis.call('HGET', P .. 'job:' .. id, 'owner')
if not owner then return end
redis.call('ZADD', P .. 'records', ARGV[2], id)
set_stored(id, owner, 0)
