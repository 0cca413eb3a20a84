-- Claim the webhook delivery that has been due for longest.
-- Arguments: lease in seconds, the latest schema that the caller can read, receivers to be passed over …
-- Returns: the delivery's hash and its id, or nothing.
local lease, schema, passed = ARGV[1], tonumber(ARGV[2]), {}
for i = 3, #ARGV do passed[ARGV[i]] = true end
-- Receivers whose next delivery only a later version can read are passed over as well.
local limit = #ARGV + 100
for _, receiver in ipairs(redis.call('ZRANGEBYSCORE', P .. 'deliveries', '-inf', NOW, 'LIMIT', 0, limit)) do
  local waiting = P .. 'deliveries:' .. receiver
  local id = redis.call('ZRANGEBYSCORE', waiting, '-inf', NOW, 'LIMIT', 0, 1)[1]
  local key = P .. 'delivery:' .. id
  if not passed[receiver] and tonumber(redis.call('HGET', key, 'schema') or 1) <= schema then
    redis.call('ZADD', waiting, NOW + lease, id)
    set_next(receiver)
    redis.call('HINCRBY', key, 'attempt', 1)
    local fields = redis.call('HGETALL', key)
    table.insert(fields, 'id')
    table.insert(fields, id)
    return fields
  end
end
return {}
