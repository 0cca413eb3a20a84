-- Find the next waiting job to claim without looking at each of them, nor at each owner. The reference model, which
-- tests hold this to, is `framegate.core.testing.scheduling`; ``lanes.lua`` describes the keys.
--
-- A claim looks at the head of each bucket that it may open. The owner of the one that was served longest ago is next,
-- and gets the oldest job among those of its lanes that are open. Whatever other versions or a server that evicts keys
-- have made wrong by then is put right on the way, at most `MAX_REPAIRS` things in one claim.

local MAX_REPAIRS = 1000

-- What a claim knows: what its worker can take, which models are paused, how many run in each group, and what it has
-- found missing.
local function new_claim(queue, models, schema)
  local paused = {}
  for _, model in ipairs(redis.call('HKEYS', P .. 'paused')) do
    models[model], paused[model] = nil, true
  end
  return {queue = queue, models = models, paused = paused, schema = schema, counts = {}, repairs = 0, missing = {}}
end

local function has_room(claim, group, limit)
  if limit == 0 then return true end
  local count = claim.counts[group]
  if not count then
    count = redis.call('SCARD', P .. 'running:' .. group)
    claim.counts[group] = count
  end
  return count < limit
end

local function is_lane_open(claim, lane)
  if not claim.models[lane.model] then return false end
  for group, limit in pairs(lane.groups) do
    if not has_room(claim, group, limit) then return false end
  end
  return true
end

-- Whether a claim's worker can take the jobs of a bucket, given its parts.
local function is_able(claim, parts) return parts[1] <= claim.schema and claim.models[parts[2]] end

local function is_bucket_full(claim, parts)
  for i = 3, #parts, 2 do
    if not has_room(claim, parts[i], parts[i + 1]) then return true end
  end
end

local function is_bucket_open(claim, bucket)
  local parts = cjson.decode(bucket)
  return is_able(claim, parts) and not is_bucket_full(claim, parts)
end

-- Whether jobs wait that other workers could take: those with other models, or of a later version, unless the model is
-- paused.
local function is_work_for_others(claim)
  for _, priority in ipairs(redis.call('ZRANGE', P .. 'levels:' .. claim.queue, 0, -1)) do
    for _, bucket in ipairs(redis.call('SMEMBERS', P .. 'buckets:' .. priority .. ':' .. claim.queue)) do
      local parts = cjson.decode(bucket)
      local is_for_others = not is_able(claim, parts) and not claim.paused[parts[2]]
      if is_for_others and not is_bucket_full(claim, parts) then return true end
    end
  end
end

-- Note that a waiting job has no record, and drop what points at it.
local function note_missing(claim, id, owner)
  table.insert(claim.missing, id)
  drop_missing(id, owner, '')
end

-- Whether the record of a job says that it waits in another lane.
local function is_elsewhere(id, lane)
  local name = redis.call('HGET', P .. 'job:' .. id, 'lane')
  return name ~= lane.name and is_lane(name)
end

-- The first job of a lane and its place in the order of submission; what doesn't wait there is dropped.
local function head_of(claim, lane)
  while claim.repairs < MAX_REPAIRS do
    local head = redis.call('ZRANGE', P .. 'lane:' .. lane.name, 0, 0, 'WITHSCORES')
    local id = head[1]
    if not id then return end
    local job = load(id)
    if job and job.state == 'queued' and not is_elsewhere(id, lane) then return id, tonumber(head[2]) end
    claim.repairs = claim.repairs + 1
    if job and job.state == 'queued' then
      -- Another job of this id was made after the record of the first was lost.
      remove_from_lane(id, lane)
      if job.owner ~= lane.owner then
        redis.call('SREM', P .. 'queuedby:' .. lane.owner, id)
        redis.call('ZREM', P .. 'owner:' .. lane.owner, id)
      end
    else
      leave_lane(id, {lane = lane.name})
    end
    if not job then note_missing(claim, id, lane.owner) end
  end
end

-- The owner's oldest job at a level that the claim may take.
local function next_of(claim, owner, level)
  local first, first_seq
  for _, name in ipairs(redis.call('SMEMBERS', P .. 'lanes:' .. owner .. ':' .. level)) do
    local lane = decode_lane(name)
    if is_lane_open(claim, lane) then
      local id, seq = head_of(claim, lane)
      -- A record of a later version is left to a worker that can read it.
      if id and schema_of(id) <= claim.schema and (not first or seq < first_seq) then first, first_seq = id, seq end
    end
  end
  return first
end

-- The first lane of a bucket, and the time at which its owner was served last: at least then, as a claim by another
-- version doesn't note that here.
local function first_in(level, bucket)
  local head = redis.call('ZRANGE', P .. 'bucket:' .. level .. ':' .. bucket, 0, 0, 'WITHSCORES')
  if not head[1] then return end
  local owner, name = string.match(head[1], '^(%Z*)%z(.*)$')
  return {owner = owner, lane = name, turn = tonumber(head[2]), bucket = bucket}
end

-- Whether the owner of one lane is served before that of another.
local function is_before(level, one, other)
  if one.turn ~= other.turn then return one.turn < other.turn end
  if one.owner == other.owner then return false end
  -- Not by comparing names: Lua does so by the rules of some language, Valkey byte by byte.
  for _, first in ipairs({one, other}) do
    first.rank = first.rank or redis.call('ZRANK', P .. 'turns:' .. level, first.owner) or -1
  end
  return one.rank < other.rank
end

local function next_at(claim, level)
  local firsts = {}
  for _, bucket in ipairs(redis.call('SMEMBERS', P .. 'buckets:' .. level)) do
    if is_bucket_open(claim, bucket) then firsts[bucket] = first_in(level, bucket) end
  end
  while claim.repairs < MAX_REPAIRS do
    local best
    for _, first in pairs(firsts) do
      if not best or is_before(level, first, best) then best = first end
    end
    if not best then return end
    local turn = tonumber(redis.call('ZSCORE', P .. 'turns:' .. level, best.owner) or '-1')
    local id = turn == best.turn and next_of(claim, best.owner, level)
    if id then return id end
    -- The lane isn't what its place says. None of the others comes before what that says of them.
    claim.repairs = claim.repairs + 1
    local lane = decode_lane(best.lane)
    local place = place_lane(lane)
    if place then list_lane(lane) end
    firsts[best.bucket] = first_in(level, best.bucket)
    if place and place ~= '' and is_bucket_open(claim, place) then firsts[place] = first_in(level, place) end
  end
end

local function next_in(claim)
  for _, priority in ipairs(redis.call('ZREVRANGE', P .. 'levels:' .. claim.queue, 0, -1)) do
    local id = next_at(claim, priority .. ':' .. claim.queue)
    if id then return id end
  end
end

local function mark_served(job)
  local lane = decode_lane(job.lane)
  local claim = redis.call('INCR', P .. 'turns')
  redis.call('HSET', P .. 'served:' .. lane.level, lane.owner, claim)
  redis.call('EXPIRE', P .. 'served:' .. lane.level, 86400)
  redis.call('ZADD', P .. 'turns:' .. lane.level, 'XX', claim, lane.owner)
end
