-- Webhook deliveries: what the scripts that change them share.
--
-- Keys, below the same prefix as those of ``jobs.lua``:
--
-- delivery:ID         hash: what is sent to which URL, how often that was tried, and its schema
-- deliveries:RECEIVER sorted set of the ids of a receiver ("hooks.example.com:8443") by their next attempt
-- deliveries          sorted set of the receivers by the earliest of these times
--
-- An attempt moves its delivery to the end of its lease, and the latest attempt moves it on: a process that dies in
-- between loses nothing. Looking at receivers first keeps a thousand deliveries to a dead one out of the way.

local function set_next(receiver)
  local first = redis.call('ZRANGE', P .. 'deliveries:' .. receiver, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', P .. 'deliveries', first[2], receiver)
  else
    redis.call('ZREM', P .. 'deliveries', receiver)
  end
end
