-- Let all workers that serve a model load it, or unload it.
-- Arguments: id of the model, '1' to load it, what is said on the workers' channels.
local number = redis.call('INCR', P .. 'model_requests:last')
redis.call('HSET', P .. 'model_requests', ARGV[1], cjson.encode({number = number, load = ARGV[2] == '1', at = NOW}))
for _, worker in ipairs(redis.call('SMEMBERS', P .. 'listening')) do publish('worker:' .. worker, ARGV[3]) end
