-- Workers: which are alive, and when a model was last served.
--
-- Keys below the prefix:
--
-- worker:ID           the announcement of a worker, as JSON, for as long as it holds
-- workers             set of the ids of all workers
-- listening           set of those that subscribe to a channel of their own, PREFIX .. 'worker:ID', while they live
-- seen                sorted set of models by the time at which a worker that serves them was known to be alive, for
--                     30 days
--
-- A worker that listens is dead as soon as nobody subscribes to its channel: its socket was closed. Its announcement,
-- which it rarely renews, ends the doubt about one whose host was lost without a word. Workers of 0.1 have nothing
-- but their announcement.

local SEEN_PRECISION = 60

-- How many calls a list of arguments may be split into: Lua's stack has room for some thousands.
local function in_parts(list, size, call)
  for first = 1, #list, size do call(unpack(list, first, math.min(first + size - 1, #list))) end
end

local function note_seen(models)
  redis.call('ZREMRANGEBYSCORE', P .. 'seen', '-inf', NOW - 30 * 86400)
  local arguments = {}
  local scores = #models > 0 and redis.call('ZMSCORE', P .. 'seen', unpack(models)) or {}
  for i, model in ipairs(models) do
    local age = scores[i] and NOW - tonumber(scores[i])
    -- A time to come is from before the clock was put back.
    if not age or age < 0 or age >= SEEN_PRECISION then
      arguments[#arguments + 1] = NOW
      arguments[#arguments + 1] = model
    end
  end
  if #arguments > 0 then redis.call('ZADD', P .. 'seen', unpack(arguments)) end
end

-- Note that the models were served until now which a worker announced before, and no longer does.
local function note_dropped(before, models)
  local served = {}
  for _, model in ipairs(before and type(before.models) == 'table' and before.models or {}) do
    if type(model) == 'string' then served[model] = true end
  end
  for _, model in ipairs(models) do served[model] = nil end
  for model in pairs(served) do redis.call('ZADD', P .. 'seen', NOW, model) end
end

-- Announce a worker for ``ttl`` milliseconds; whether it listens.
local function announce(worker, text, ttl, listens)
  local key = P .. 'worker:' .. worker
  local before = redis.call('GET', key)
  if before == text then
    redis.call('PEXPIRE', key, ttl)
  else
    redis.call('SET', key, text, 'PX', ttl)
    note_dropped(decode_table(before), cjson.decode(text).models)
  end
  redis.call('SADD', P .. 'workers', worker)
  redis.call(listens and 'SADD' or 'SREM', P .. 'listening', worker)
  note_seen(cjson.decode(text).models)
end

-- The ids of ``workers`` on whose channels nobody listens, as a set.
local function find_silent(workers)
  local silent, channels = {}, {}
  for i, worker in ipairs(workers) do channels[i] = P .. 'worker:' .. worker end
  in_parts(channels, 1000, function(...)
    local counts = redis.call('PUBSUB', 'NUMSUB', ...)
    for i = 1, #counts, 2 do
      if tonumber(counts[i + 1]) == 0 then silent[string.sub(counts[i], #P + 8)] = true end
    end
  end)
  return silent
end

-- Forget workers that have died or left. Their models were served until now: everybody looks every second.
local function forget_workers(workers)
  local served = {}
  for _, worker in ipairs(workers) do
    local key = P .. 'worker:' .. worker
    local info = decode_table(redis.call('GET', key))
    redis.call('DEL', key)
    redis.call('SREM', P .. 'workers', worker)
    redis.call('SREM', P .. 'listening', worker)
    for _, model in ipairs(info and type(info.models) == 'table' and info.models or {}) do
      if type(model) == 'string' then served[model] = true end
    end
  end
  for model in pairs(served) do redis.call('ZADD', P .. 'seen', NOW, model) end
end

local function forget_dead_workers()
  local dead = {}
  for worker in pairs(find_silent(redis.call('SMEMBERS', P .. 'listening'))) do table.insert(dead, worker) end
  for _, worker in ipairs(redis.call('SDIFF', P .. 'workers', P .. 'listening')) do
    if redis.call('EXISTS', P .. 'worker:' .. worker) == 0 then table.insert(dead, worker) end
  end
  forget_workers(dead)
  local newest = redis.call('ZRANGE', P .. 'seen', -1, -1, 'WITHSCORES')
  if newest[1] and tonumber(newest[2]) > NOW then
    for _, model in ipairs(redis.call('ZRANGEBYSCORE', P .. 'seen', '(' .. NOW, '+inf')) do
      redis.call('ZADD', P .. 'seen', NOW, model)
    end
  end
end
