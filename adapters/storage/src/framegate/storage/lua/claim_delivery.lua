-- lease in seconds, receivers to be passed over … → the hash of a delivery that is due with its id, or nothing
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
