-- Webhook deliveries: what the scripts that change them share.
--
-- A receiver is a host and port as one owner uses it, ``alice@hooks.example.com:443``; those of the operator's own URLs
-- belong to nobody, ``@ops.example.com:443``. What one owner does to a host so delays nobody else's events there.
--
-- Keys, below the same prefix as those of ``jobs.lua``:
--
-- delivery:ID         hash: what is sent to which URL, how often that was tried, and its schema
-- deliveries:RECEIVER sorted set of a receiver's ids by their next attempt
-- deliveries          sorted set of the receivers by the time at which they are lined up (again)
-- webhook_receiver:RECEIVER   hash: ``failures`` in a row, ``proven`` if it has accepted an event, ``not_before``: the
--                     time until which nothing is sent; forgotten a day after the last attempt
-- webhook_receivers:STANDING:OWNER    an owner's line: a sorted set of its receivers by the time since when they wait
-- webhook_owners:STANDING     sorted set of the owners by the time since when they wait
-- clock:webhooks      when a delivery was added or moved last, by which a clock that went back is known
-- webhook_urls        set of the operator's own URLs, as digests: they may hold tokens
--
-- An attempt moves its delivery to the end of its lease, and the latest attempt moves it on: a process that dies in
-- between loses nothing. Whoever is served, a receiver or an owner, goes to the end of its line, so that all are served
-- in turn, and finding the next costs the same whether ten receivers wait or ten thousand.
--
-- The lines follow from the first three keys, which are all that other versions know. Each receiver comes up in
-- ``deliveries`` when it has a new event, and again a minute after it became due, and is then lined up as its
-- deliveries say. So what other versions have added, moved and removed is noticed, and they find what is left to them.

local STANDINGS = {'proven', 'new', 'failing'}
local BACKSTOP = 60
local REMEMBERED = 90000

local function owner_and_host(receiver)
  local owner, host = string.match(receiver, '^(.*)@([^@]*)$')
  return owner or '', host or receiver
end

local function line_of(standing, owner) return P .. 'webhook_receivers:' .. standing .. ':' .. owner end

local function health_of(receiver)
  local known = redis.call('HMGET', P .. 'webhook_receiver:' .. receiver, 'failures', 'proven', 'not_before')
  local failures = tonumber(known[1]) or 0
  local standing = failures > 0 and 'failing' or known[2] and 'proven' or 'new'
  return {failures = failures, standing = standing, not_before = tonumber(known[3]) or 0}
end

local function set_health(receiver, ...)
  redis.call('HSET', P .. 'webhook_receiver:' .. receiver, ...)
  redis.call('EXPIRE', P .. 'webhook_receiver:' .. receiver, REMEMBERED)
end

-- Wait in a line from a time on. Those who are due already keep their places, and those who were ``served`` lose them.
local function wait_in_line(line, member, from, served)
  from = tonumber(from)
  if served then
    from = math.max(from, NOW)
  elseif from <= NOW then
    local before = tonumber(redis.call('ZSCORE', line, member))
    if before and before <= NOW then return end
  end
  redis.call('ZADD', line, from, member)
end

local function line_up_owner(standing, owner, served)
  local owners, first = P .. 'webhook_owners:' .. standing,
    redis.call('ZRANGE', line_of(standing, owner), 0, 0, 'WITHSCORES')
  if first[1] then wait_in_line(owners, owner, first[2], served) else redis.call('ZREM', owners, owner) end
end

-- The clock went back if something is to happen later than ``longest`` seconds from now; it then happens now.
local function put_clock_right(receiver, health, longest)
  local waiting, ahead = P .. 'deliveries:' .. receiver, NOW + longest
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, '(' .. ahead, '+inf', 'LIMIT', 0, 1000)) do
    redis.call('ZADD', waiting, NOW, id)
  end
  if health.not_before > ahead then
    health.not_before = 0
    set_health(receiver, 'not_before', 0)
  end
end

-- Put a receiver where its deliveries and its health belong. Nothing that it waits for is further ahead than
-- ``longest`` seconds.
local function line_up(receiver, longest, served)
  local owner, health = owner_and_host(receiver), health_of(receiver)
  put_clock_right(receiver, health, longest)
  local first = redis.call('ZRANGE', P .. 'deliveries:' .. receiver, 0, 0, 'WITHSCORES')[2]
  local at = first and math.max(tonumber(first), health.not_before)
  for _, standing in ipairs(STANDINGS) do
    local line = line_of(standing, owner)
    if at and standing == health.standing then
      wait_in_line(line, receiver, at, served)
      line_up_owner(standing, owner, served)
    elseif redis.call('ZREM', line, receiver) == 1 then
      line_up_owner(standing, owner)
    end
  end
  if at then
    redis.call('ZADD', P .. 'deliveries', math.max(at, NOW) + BACKSTOP, receiver)
  else
    redis.call('ZREM', P .. 'deliveries', receiver)
  end
end

local function remove_delivery(receiver, id)
  redis.call('ZREM', P .. 'deliveries:' .. receiver, id)
  redis.call('DEL', P .. 'delivery:' .. id)
end
