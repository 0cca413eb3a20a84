-- What operators want workers to do with models, without the loads during which a worker has died.
-- Returns: {model, request as JSON, model, …}.
forget_dead_workers()
return redis.call('HGETALL', P .. 'model_requests')
