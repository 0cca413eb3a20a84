-- Webhook deliveries, each change of one as an atomic Lua script.
--
-- Keys, below the prefix of `framegate.storage.scripts`:
--
-- delivery:ID         hash: what is to be told to whom, and how often that was tried
-- deliveries:RECEIVER sorted set of the ids of a receiver ("hooks.example.com:8443") by their next attempt
-- deliveries          sorted set of the receivers by the earliest of these times
--
-- An attempt moves its delivery to the end of its lease, and whoever is last moves it on: a process that dies in
-- between loses nothing. Looking at receivers first keeps a thousand deliveries to a dead one out of the way.

local function set_next(receiver)
  local first = redis.call('ZRANGE', P .. 'deliveries:' .. receiver, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', P .. 'deliveries', first[2], receiver)
  else
    redis.call('ZREM', P .. 'deliveries', receiver)
  end
end
