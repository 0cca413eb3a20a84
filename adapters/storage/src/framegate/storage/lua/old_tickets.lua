-- The tickets of workers of 0.1: Dramatiq's own keys, below PREFIX .. 'dq:'. Such a worker pushes them for itself when
-- it sweeps, and an API of 0.1 does so with each submission. When no such worker is alive they are of no use.

local OLD_KEYS = {'', '.msgs', '.DQ', '.DQ.msgs', '.XQ', '.XQ.msgs'}

local function remove_old_tickets(queue)
  if redis.call('EXISTS', P .. 'dq:__heartbeats__', P .. 'dq:' .. queue) == 0 then return end
  if #redis.call('SDIFF', P .. 'workers', P .. 'listening') > 0 then return end
  for _, suffix in ipairs(OLD_KEYS) do redis.call('DEL', P .. 'dq:' .. queue .. suffix) end
  for _, worker in ipairs(redis.call('ZRANGE', P .. 'dq:__heartbeats__', 0, 99)) do
    redis.call('DEL', P .. 'dq:__acks__.' .. worker .. '.' .. queue)
  end
end
