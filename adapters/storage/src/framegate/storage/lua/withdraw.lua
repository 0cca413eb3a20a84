-- Withdraw a worker that ends, and those that have died.
-- Arguments: id of the worker.
forget_workers({ARGV[1]})
end_load(ARGV[1])
redis.call('HDEL', P .. 'drained', ARGV[1])
forget_dead_workers()
