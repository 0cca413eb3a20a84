-- id, end → notes that the files of a job are gone, unless its record is, too
local P, id = KEYS[1], ARGV[1]
redis.call('ZREM', P .. 'finished', id)
if redis.call('EXISTS', P .. 'job:' .. id) == 1 then redis.call('ZADD', P .. 'records', ARGV[2], id) end
