-- How 0.1 ends an attempt. Arguments: id, attempt, seconds until the next one or '' for none.
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
