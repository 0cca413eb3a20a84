-- Announce a worker.
-- Arguments: id of the worker, its announcement as JSON, for how many milliseconds it holds, its models as JSON.
local worker, announcement, lease, models = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
redis.call('SET', P .. 'worker:' .. worker, announcement, 'PX', lease)
redis.call('SADD', P .. 'workers', worker)
for _, model in ipairs(models) do redis.call('ZADD', P .. 'seen', NOW, model) end
redis.call('ZREMRANGEBYSCORE', P .. 'seen', '-inf', NOW - 30 * 86400)
