-- Requested loads: who has begun them, and whether they outlive them. ``operations.lua`` describes the keys.

local function end_load(worker)
  redis.call('HDEL', P .. 'begun_loads', worker)
  redis.call('ZREM', P .. 'begun_loads:beats', worker)
  redis.call('HDEL', P .. 'begun_loads:doubts', worker)
end

-- Request something of a model, and tell the workers that listen. Who has begun what was requested before, perhaps to die
-- of it, is no longer of interest.
local function request_model(model, request, text)
  local loads = redis.call('HGETALL', P .. 'begun_loads')
  for i = 1, #loads, 2 do
    local load = decode_table(loads[i + 1])
    if load and load.model == model then end_load(loads[i]) end
  end
  request.number, request.at = redis.call('INCR', P .. 'model_requests:last'), NOW
  redis.call('HSET', P .. 'model_requests', model, cjson.encode(request))
  for _, worker in ipairs(redis.call('SMEMBERS', P .. 'listening')) do publish('worker:' .. worker, text) end
end

-- Whether a worker that has begun a load is alive, 'lost', or 'doubtful'. A channel without a subscriber is no proof of
-- death, as after a restart of Valkey, nor is one with a subscriber a proof of life, as that of a host without power:
-- whoever is silent has as long as a lease lasts to be heard. Doubts begin anew if nobody had them for a while, when
-- Valkey was down or couldn't be reached.
local function state_of(worker, lease, most_silent)
  local beat = tonumber(redis.call('ZSCORE', P .. 'begun_loads:beats', worker) or 0)
  local doubt = decode_table(redis.call('HGET', P .. 'begun_loads:doubts', worker))
  local since, asked = doubt and tonumber(doubt.since) or NOW, doubt and tonumber(doubt.asked) or NOW
  local is_heard = math.abs(NOW - beat) < lease
  if is_heard and (beat > since or redis.call('PUBSUB', 'NUMSUB', P .. 'worker:' .. worker)[2] > 0) then
    redis.call('HDEL', P .. 'begun_loads:doubts', worker)
    return 'alive'
  end
  if since > NOW or math.abs(NOW - asked) > most_silent then since = NOW end
  if NOW - since >= lease then return 'lost' end
  redis.call('HSET', P .. 'begun_loads:doubts', worker, cjson.encode({since = since, asked = NOW}))
  return 'doubtful'
end
