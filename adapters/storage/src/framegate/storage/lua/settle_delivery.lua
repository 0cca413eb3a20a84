-- End an attempt at a webhook delivery.
-- Arguments: id, attempt, seconds until the next attempt or '' for none.
local id, attempt, delay = ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('HMGET', P .. 'delivery:' .. id, 'receiver', 'attempt')
local receiver = known[1]
if not receiver then return end
if delay == '' then
  redis.call('ZREM', P .. 'deliveries:' .. receiver, id)
  redis.call('DEL', P .. 'delivery:' .. id)
elseif known[2] == attempt then  -- else the lease of this attempt ran out, and another one decides
  redis.call('ZADD', P .. 'deliveries:' .. receiver, NOW + delay, id)
end
set_next(receiver)
