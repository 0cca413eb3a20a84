-- Find the next waiting job to claim without looking at each of them. The reference model, which tests hold this
-- to, is `framegate.core.testing.scheduling`.
--
-- A lane is a line of jobs that share everything that scheduling looks at: queue, priority, owner, model and
-- running limits. Its name is just that, as JSON:
-- ``["q-preview","0","alice",{"key:alice":2,"model:wan22":1},"wan22"]``.
-- Only the head of a lane is looked at, so a claim costs the same whether ten jobs wait or ten thousand.
--
-- Keys below the prefix, where LEVEL is ``PRIORITY:QUEUE``:
--
-- queued:QUEUE        sorted set of all waiting ids by order of submission
-- queuedby:OWNER      set of an owner's waiting ids
-- levels:QUEUE        sorted set of the priorities at which jobs wait
-- turns               counter of claims: the time of scheduling
-- turns:LEVEL         sorted set of the owners that wait there, by the claim at which they were served last
-- served:LEVEL        hash of all owners that were served there within a day, with that claim
-- lanes:OWNER:LEVEL   set of the owner's lanes in which jobs wait
-- lane:LANE           sorted set of a lane's ids by order of submission
-- running:GROUP       set of the ids that run in a group of running limits

local function level_of(lane) return lane[2] .. ':' .. lane[1] end

local function enter_lane(id, job)
  local lane = cjson.decode(job.lane)
  local queue, priority, owner, level = lane[1], lane[2], lane[3], level_of(lane)
  redis.call('ZADD', P .. 'queued:' .. queue, job.seq, id)
  redis.call('SADD', P .. 'queuedby:' .. owner, id)
  redis.call('ZADD', P .. 'lane:' .. job.lane, job.seq, id)
  redis.call('SADD', P .. 'lanes:' .. owner .. ':' .. level, job.lane)
  local served = redis.call('HGET', P .. 'served:' .. level, owner) or 0
  redis.call('ZADD', P .. 'turns:' .. level, 'NX', served, owner)
  redis.call('ZADD', P .. 'levels:' .. queue, priority, priority)
end

local function leave_lane(id, job)
  local lane = cjson.decode(job.lane)
  local queue, priority, owner, level = lane[1], lane[2], lane[3], level_of(lane)
  local own = P .. 'lanes:' .. owner .. ':' .. level
  redis.call('ZREM', P .. 'queued:' .. queue, id)
  redis.call('SREM', P .. 'queuedby:' .. owner, id)
  redis.call('ZREM', P .. 'lane:' .. job.lane, id)
  if redis.call('EXISTS', P .. 'lane:' .. job.lane) == 1 then return end
  redis.call('SREM', own, job.lane)
  if redis.call('EXISTS', own) == 1 then return end
  redis.call('ZREM', P .. 'turns:' .. level, owner)
  if redis.call('EXISTS', P .. 'turns:' .. level) == 1 then return end
  redis.call('ZREM', P .. 'levels:' .. queue, priority)
end

local function mark_served(job)
  local lane = cjson.decode(job.lane)
  local owner, level, claim = lane[3], level_of(lane), redis.call('INCR', P .. 'turns')
  redis.call('HSET', P .. 'served:' .. level, owner, claim)
  redis.call('EXPIRE', P .. 'served:' .. level, 86400)
  redis.call('ZADD', P .. 'turns:' .. level, 'XX', claim, owner)
end

local function enter_groups(id, job)
  for group in pairs(cjson.decode(job.lane)[4]) do redis.call('SADD', P .. 'running:' .. group, id) end
end

-- Leave the job's groups; returns whether others may have been waiting for its place.
local function leave_groups(id, job)
  local limited = false
  for group, limit in pairs(cjson.decode(job.lane)[4]) do
    redis.call('SREM', P .. 'running:' .. group, id)
    limited = limited or limit > 0
  end
  return limited
end

-- Whether a worker that has ``models`` (a set) may take the head of a lane.
local function is_open(lane, models)
  local decoded = cjson.decode(lane)
  if not models[decoded[5]] then return false end
  for group, limit in pairs(decoded[4]) do
    if limit > 0 and redis.call('SCARD', P .. 'running:' .. group) >= limit then return false end
  end
  return true
end

-- Whether a worker can read a job's record: one of a later version is left to a worker of that version.
local function is_readable(id, schema)
  return tonumber(redis.call('HGET', P .. 'job:' .. id, 'schema') or 1) <= schema
end

local function next_of(owner, level, models, schema)
  local first, first_seq
  for _, lane in ipairs(redis.call('SMEMBERS', P .. 'lanes:' .. owner .. ':' .. level)) do
    local head = redis.call('ZRANGE', P .. 'lane:' .. lane, 0, 0, 'WITHSCORES')
    local seq = tonumber(head[2])
    if (not first or seq < first_seq) and is_open(lane, models) and is_readable(head[1], schema) then
      first, first_seq = head[1], seq
    end
  end
  return first
end

local function next_in(queue, models, schema)
  for _, priority in ipairs(redis.call('ZREVRANGE', P .. 'levels:' .. queue, 0, -1)) do
    local level = priority .. ':' .. queue
    for _, owner in ipairs(redis.call('ZRANGE', P .. 'turns:' .. level, 0, -1)) do
      local id = next_of(owner, level, models, schema)
      if id then return id end
    end
  end
end

-- The number of the owner's jobs at a level, up to a place in the order of submission.
local function count_waiting(owner, level, upto)
  local count = 0
  for _, lane in ipairs(redis.call('SMEMBERS', P .. 'lanes:' .. owner .. ':' .. level)) do
    count = count + redis.call('ZCOUNT', P .. 'lane:' .. lane, '-inf', upto)
  end
  return count
end

local function position_of(job)
  local lane = cjson.decode(job.lane)
  local queue, priority, owner, level = lane[1], lane[2], lane[3], level_of(lane)
  local ahead = 0
  for _, higher in ipairs(redis.call('ZRANGEBYSCORE', P .. 'levels:' .. queue, '(' .. priority, '+inf')) do
    local above = higher .. ':' .. queue
    for _, other in ipairs(redis.call('ZRANGE', P .. 'turns:' .. above, 0, -1)) do
      ahead = ahead + count_waiting(other, above, '+inf')
    end
  end
  local own = count_waiting(owner, level, job.seq)
  -- Owners that come before this one are served once more until this job is next.
  local rounds = own
  for _, other in ipairs(redis.call('ZRANGE', P .. 'turns:' .. level, 0, -1)) do
    if other == owner then rounds = own - 1
    else ahead = ahead + math.min(rounds, count_waiting(other, level, '+inf')) end
  end
  return ahead + own
end
