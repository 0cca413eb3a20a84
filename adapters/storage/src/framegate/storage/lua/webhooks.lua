-- Webhook deliveries begin in the step that ends a job, and are kept apart from its record, which they may
-- outlive. ``deliveries.lua`` describes their keys.

local function enqueue_webhooks(id, job, outcome, stamp)
  if outcome == 'cancelled' then return end
  local record = cjson.decode(redis.call('HGET', P .. 'job:' .. id, 'job'))
  local urls = record.webhooks or {}
  -- Its client knows it by an id of its own choice, if there is one.
  local known_as = (record.labels or {}).task_id or id
  -- The number makes it another event when the same id is used once more after its record is gone.
  local event = 'evt_' .. string.sub(redis.sha1hex(id .. ':' .. job.seq .. ':' .. NOW), 1, 32)
  for number, url in ipairs(urls) do
    local delivery, receiver = event .. ':' .. number, string.match(url, '^%a+://([^/?#]*)')
    redis.call('HSET', P .. 'delivery:' .. delivery, 'event', event, 'outcome', outcome, 'job_id', known_as,
      'created_at', math.floor(NOW), 'url', url, 'receiver', receiver, 'attempt', 0,
      'schema', stamp.schema, 'written_by', stamp.written_by)
    redis.call('ZADD', P .. 'deliveries:' .. receiver, NOW, delivery)
    redis.call('ZADD', P .. 'deliveries', 'LT', NOW, receiver)
  end
end
