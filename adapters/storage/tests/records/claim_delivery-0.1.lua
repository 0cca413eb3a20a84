-- How 0.1 claims a webhook delivery (commit 5aa59e2). Arguments: lease in seconds, receivers to be passed over …
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) + tonumber(time[2]) / 1000000

local function set_next(receiver)
  local first = redis.call('ZRANGE', P .. 'deliveries:' .. receiver, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', P .. 'deliveries', first[2], receiver)
  else
    redis.call('ZREM', P .. 'deliveries', receiver)
  end
end

local passed = {}
for i = 2, #ARGV do passed[ARGV[i]] = true end
for _, receiver in ipairs(redis.call('ZRANGEBYSCORE', P .. 'deliveries', '-inf', NOW, 'LIMIT', 0, #ARGV)) do
  if not passed[receiver] then
    local waiting = P .. 'deliveries:' .. receiver
    local id = redis.call('ZRANGEBYSCORE', waiting, '-inf', NOW, 'LIMIT', 0, 1)[1]
    redis.call('ZADD', waiting, NOW + ARGV[1], id)
    set_next(receiver)
    redis.call('HINCRBY', P .. 'delivery:' .. id, 'attempt', 1)
    local fields = redis.call('HGETALL', P .. 'delivery:' .. id)
    table.insert(fields, 'id')
    table.insert(fields, id)
    return fields
  end
end
return {}
