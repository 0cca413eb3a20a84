-- Lanes, the lines in which jobs wait, and the indexes in which ``scheduling.lua`` finds the next one.
--
-- A lane holds jobs that share everything that scheduling looks at: queue, priority, owner, running limits and model.
-- Its name is just that, as JSON: ``["q-preview","0","alice",{"key:alice":2,"model:wan22":1},"wan22"]``. A lane that
-- 0.1 must not open has no model there, and its own as the sixth element.
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
--
-- Versions before 0.2 know only these. The following are made from them, so that a claim need not look at each owner.
-- What such a version changes without them is noticed when they are used, and mended by ``index_repair.lua``.
--
-- buckets:LEVEL       set of the buckets that aren't empty
-- bucket:LEVEL:BUCKET sorted set of lanes by the time of scheduling of their owners; a member is OWNER, NUL, LANE, so
--                     that it has the order of ``turns:LEVEL``. A bucket holds the lanes that the same workers may
--                     open at the same times, and is called what they need: the schema of their heads, their model,
--                     and the running limits that they share with other owners: ``[2,"wan22","model:wan22",1]``
-- places:OWNER        hash of the owner's lanes: the bucket of each, '' for one that is closed by the owner's own limit
-- closed              sorted set of the owners that have closed lanes, by their number
-- waiting:QUEUE       hash of the waiting ids that are counted below, each with its lane
-- waitingby:LEVEL     sorted set of the owners that wait there, by the number of their jobs
-- depths:QUEUE        sorted set of the priorities, by the number of jobs that wait at each

local decoded = {}

local function model_of(parts) return parts[6] or parts[5] end

-- Whether a text names a lane: that in a damaged record may not.
local function is_lane(text)
  if decoded[text] then return true end
  local parts = decode_table(text)
  if not (parts and type(parts[1]) == 'string' and number_in(parts[2]) and type(parts[3]) == 'string'
      and type(parts[4]) == 'table') then return false end
  for group, limit in pairs(parts[4]) do
    local is_limit = type(limit) == 'number' and limit >= 0 and limit < math.huge
    if type(group) ~= 'string' or not is_limit then return false end
  end
  return true
end

local function decode_lane(name)
  if decoded[name] then return decoded[name] end
  local parts = cjson.decode(name)
  local lane = {name = name, queue = parts[1], priority = parts[2], owner = parts[3], groups = parts[4]}
  lane.level, lane.model = lane.priority .. ':' .. lane.queue, model_of(parts)
  lane.owner_group = 'key:' .. lane.owner
  lane.owner_limit = lane.groups[lane.owner_group] or 0
  lane.member = lane.owner .. '\0' .. name
  decoded[name] = lane
  return lane
end

-- Add to a member's count; a member without any is removed.
local function add_to(key, member, number)
  if tonumber(redis.call('ZINCRBY', key, number, member)) <= 0 then redis.call('ZREM', key, member) end
end

local function bucket_of(lane, schema)
  local shared, bucket = {}, {schema, lane.model}
  for group, limit in pairs(lane.groups) do
    if limit > 0 and group ~= lane.owner_group then table.insert(shared, group) end
  end
  table.sort(shared)
  for _, group in ipairs(shared) do
    table.insert(bucket, group)
    table.insert(bucket, lane.groups[group])
  end
  return cjson.encode(bucket)
end

-- The schema of a job's record; one that is missing or damaged is for any worker to clear away.
local function schema_of(id) return integer_in(redis.pcall('HGET', P .. 'job:' .. id, 'schema')) or 1 end

-- The place where a lane belongs: its bucket, '' if its owner's own limit closes it, nothing if it is empty.
local function place_of(lane)
  local head = redis.call('ZRANGE', P .. 'lane:' .. lane.name, 0, 0)[1]
  if not head then return end
  local limit = lane.owner_limit
  if limit > 0 and redis.call('SCARD', P .. 'running:' .. lane.owner_group) >= limit then return '' end
  return bucket_of(lane, schema_of(head))
end

-- List a lane in which jobs wait.
local function list_lane(lane)
  local served = redis.call('HGET', P .. 'served:' .. lane.level, lane.owner) or 0
  redis.call('SADD', P .. 'lanes:' .. lane.owner .. ':' .. lane.level, lane.name)
  redis.call('ZADD', P .. 'turns:' .. lane.level, 'NX', served, lane.owner)
  redis.call('ZADD', P .. 'levels:' .. lane.queue, lane.priority, lane.priority)
end

-- Put a lane where it belongs by now, as everything that may change that must do; returns its place.
local function place_lane(lane)
  local places, place = P .. 'places:' .. lane.owner, place_of(lane)
  local before = redis.call('HGET', places, lane.name) or nil
  if before ~= place then
    if before == '' then
      add_to(P .. 'closed', lane.owner, -1)
    elseif before then
      local bucket = P .. 'bucket:' .. lane.level .. ':' .. before
      redis.call('ZREM', bucket, lane.member)
      if redis.call('EXISTS', bucket) == 0 then redis.call('SREM', P .. 'buckets:' .. lane.level, before) end
    end
    if place then redis.call('HSET', places, lane.name, place) else redis.call('HDEL', places, lane.name) end
    if place == '' then add_to(P .. 'closed', lane.owner, 1) end
  end
  if place and place ~= '' then
    local turns = P .. 'turns:' .. lane.level
    local turn = redis.call('ZSCORE', turns, lane.owner)
    if not turn then
      list_lane(lane)
      turn = redis.call('ZSCORE', turns, lane.owner)
    end
    redis.call('SADD', P .. 'buckets:' .. lane.level, place)
    redis.call('ZADD', P .. 'bucket:' .. lane.level .. ':' .. place, turn, lane.member)
  end
  return place
end

-- Do that for all of an owner's lanes; returns the queues, as a set, of those that were closed and are no longer.
local function place_lanes_of(owner)
  local opened, places = {}, redis.call('HGETALL', P .. 'places:' .. owner)
  for i = 1, #places, 2 do
    local lane = decode_lane(places[i])
    local place = place_lane(lane)
    if places[i + 1] == '' and place and place ~= '' then opened[lane.queue] = true end
  end
  return opened
end

-- No longer count a job among the waiting ones.
local function count_out(id, queue)
  local name = redis.call('HGET', P .. 'waiting:' .. queue, id)
  if not name then return end
  local lane = decode_lane(name)
  redis.call('HDEL', P .. 'waiting:' .. queue, id)
  add_to(P .. 'waitingby:' .. lane.level, lane.owner, -1)
  add_to(P .. 'depths:' .. queue, lane.priority, -1)
end

-- Count a job among the waiting ones, once however often this is called.
local function count_in(id, lane)
  if redis.call('HGET', P .. 'waiting:' .. lane.queue, id) == lane.name then return end
  count_out(id, lane.queue)
  redis.call('HSET', P .. 'waiting:' .. lane.queue, id, lane.name)
  add_to(P .. 'waitingby:' .. lane.level, lane.owner, 1)
  add_to(P .. 'depths:' .. lane.queue, lane.priority, 1)
end

local function enter_lane(id, job)
  local lane = decode_lane(job.lane)
  redis.call('ZADD', P .. 'queued:' .. lane.queue, job.seq, id)
  redis.call('SADD', P .. 'queuedby:' .. lane.owner, id)
  redis.call('ZADD', P .. 'lane:' .. lane.name, job.seq, id)
  list_lane(lane)
  count_in(id, lane)
  place_lane(lane)
end

-- Take an id out of a lane, and what becomes empty by that out of what lists it.
local function remove_from_lane(id, lane)
  local own, turns = P .. 'lanes:' .. lane.owner .. ':' .. lane.level, P .. 'turns:' .. lane.level
  redis.call('ZREM', P .. 'lane:' .. lane.name, id)
  if redis.call('EXISTS', P .. 'lane:' .. lane.name) == 0 then
    redis.call('SREM', own, lane.name)
    if redis.call('EXISTS', own) == 0 then redis.call('ZREM', turns, lane.owner) end
    if redis.call('EXISTS', turns) == 0 then redis.call('ZREM', P .. 'levels:' .. lane.queue, lane.priority) end
  end
  place_lane(lane)
end

local function leave_lane(id, job)
  local lane = decode_lane(job.lane)
  redis.call('ZREM', P .. 'queued:' .. lane.queue, id)
  redis.call('SREM', P .. 'queuedby:' .. lane.owner, id)
  count_out(id, lane.queue)
  remove_from_lane(id, lane)
end

-- Enter the job's groups; the owner's own limit may close the owner's other lanes by that.
local function enter_groups(id, job)
  local lane = decode_lane(job.lane)
  for group in pairs(lane.groups) do redis.call('SADD', P .. 'running:' .. group, id) end
  place_lanes_of(lane.owner)
end

-- Leave the job's groups; returns the queues, as a set, in which others may have been waiting for its place.
local function leave_groups(id, job)
  local lane, limited = decode_lane(job.lane), false
  for group, limit in pairs(lane.groups) do
    redis.call('SREM', P .. 'running:' .. group, id)
    limited = limited or limit > 0
  end
  local closed = redis.call('ZSCORE', P .. 'closed', lane.owner)
  local queues = closed and place_lanes_of(lane.owner) or {}
  if limited then queues[lane.queue] = true end
  return queues
end
