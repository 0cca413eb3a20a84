"""Webhook deliveries, each change of one as an atomic Lua script.

Keys, below the prefix of `framegate.adapters.stores.scripts`:

delivery:ID         hash: what is to be told to whom, and how often that was tried
deliveries:RECEIVER sorted set of the ids of a receiver ("hooks.example.com:8443") by their next attempt
deliveries          sorted set of the receivers by the earliest of these times

An attempt moves its delivery to the end of its lease, and whoever is last moves it on: a process that dies in
between loses nothing. Looking at receivers first keeps a thousand deliveries to a dead one out of the way.
"""

_NOW = """
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

OWE_WEBHOOKS = """
-- In the step that ends a job, and kept apart from its record: who is to be told.
local function owe_webhooks(id, job, outcome)
  if outcome == 'cancelled' then return end
  local urls = cjson.decode(redis.call('HGET', P .. 'job:' .. id, 'job')).webhooks or {}
  -- The number makes it another event when the same id is used once more after its record is gone.
  local event = 'evt_' .. string.sub(redis.sha1hex(id .. ':' .. job.seq .. ':' .. NOW), 1, 32)
  for number, url in ipairs(urls) do
    local delivery, receiver = event .. ':' .. number, string.match(url, '^%a+://([^/?#]*)')
    redis.call('HSET', P .. 'delivery:' .. delivery, 'event', event, 'outcome', outcome, 'job_id', id,
      'created_at', math.floor(NOW), 'url', url, 'receiver', receiver, 'attempt', 0)
    redis.call('ZADD', P .. 'deliveries:' .. receiver, NOW, delivery)
    redis.call('ZADD', P .. 'deliveries', 'LT', NOW, receiver)
  end
end
"""

_SET_NEXT = """
local function set_next(receiver)
  local first = redis.call('ZRANGE', P .. 'deliveries:' .. receiver, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', P .. 'deliveries', first[2], receiver)
  else
    redis.call('ZREM', P .. 'deliveries', receiver)
  end
end
"""

# lease in seconds, receivers to be passed over … → the hash of a delivery that is due with its id, or nothing
CLAIM_DELIVERY = (
    _NOW
    + _SET_NEXT
    + """
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
"""
)

# id, attempt, seconds until the next one or '' for none
SETTLE_DELIVERY = (
    _NOW
    + _SET_NEXT
    + """
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
"""
)
