-- Pause a model, or resume it.
-- Arguments: id of the model, '1' to pause it.
if ARGV[2] == '1' then
  redis.call('HSETNX', P .. 'paused', ARGV[1], NOW)
else
  redis.call('HDEL', P .. 'paused', ARGV[1])
end
-- Its jobs need no tickets, or need them again; without one, no worker looks for them.
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  drop_tickets(queue)
  replace_tickets(queue, MOST_TICKETS)
end
