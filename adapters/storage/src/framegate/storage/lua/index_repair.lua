-- Mend the indexes that only versions since 0.2 keep, see ``lanes.lua``, after changes by others.
--
-- Whoever sweeps calls ``mend_queues`` and ``mend_closed_lanes``. Nothing is written where all is as it should be, and
-- each call looks at a bounded number of jobs and owners, others at each time.

local NEWEST, AUDITED, AUDITED_QUEUES, MENDED, CLOSED_OWNERS = 10, 20, 2, 250, 50

-- The ``size`` members of a sorted set that are looked at in this second.
local function window(key, size)
  local count = redis.call('ZCARD', key)
  if count == 0 then return {} end
  local first = math.floor(NOW) % math.ceil(count / size) * size
  return redis.call('ZRANGE', key, first, first + size - 1)
end

local function new_repair() return {missing = {}} end

-- Check that a waiting job is where it should be.
local function check_waiting(repair, id, queue)
  local state, name = unpack(redis.pcall('HMGET', P .. 'job:' .. id, 'state', 'lane'))
  local known = redis.call('HGET', P .. 'waiting:' .. queue, id)
  if state == 'queued' and known and known == name
      and redis.call('ZSCORE', P .. 'lane:' .. name, id)
      and redis.call('HEXISTS', P .. 'places:' .. decode_lane(name).owner, name) == 1 then
    return
  end
  local job = load(id)
  if job and job.state == 'queued' and decode_lane(job.lane).queue == queue then
    enter_lane(id, job)
    return
  end
  if known and not job then leave_lane(id, {lane = known}) end
  if job and job.state ~= 'queued' then leave_lane(id, job) end
  redis.call('ZREM', P .. 'queued:' .. queue, id)
  if not job then note_missing(repair, id, known and decode_lane(known).owner or '') end
end

-- Whether all jobs of a queue seem to be known: as many as wait, and the newest one. A job that came unknown while
-- another one left unknown is found by an audit at the latest.
local function seems_right(queue)
  local queued, waiting = P .. 'queued:' .. queue, P .. 'waiting:' .. queue
  if redis.call('ZCARD', queued) ~= redis.call('HLEN', waiting) then return false end
  local newest = redis.call('ZRANGE', queued, -1, -1)[1]
  return not newest or redis.call('HEXISTS', waiting, newest) == 1
end

-- Enter what waits in a queue and isn't known, and drop what no longer waits.
local function mend_queue(repair, queue)
  local queued, waiting = P .. 'queued:' .. queue, P .. 'waiting:' .. queue
  local size = seems_right(queue) and AUDITED or MENDED
  for _, id in ipairs(redis.call('ZRANGE', queued, -NEWEST, -1)) do check_waiting(repair, id, queue) end
  for _, id in ipairs(window(queued, size)) do check_waiting(repair, id, queue) end
  local levels, depths = P .. 'levels:' .. queue, P .. 'depths:' .. queue
  if redis.call('ZCARD', levels) < redis.call('ZCARD', depths) then
    for _, priority in ipairs(redis.call('ZRANGE', depths, 0, -1)) do
      local waits = redis.call('EXISTS', P .. 'turns:' .. priority .. ':' .. queue) == 1
      if waits then redis.call('ZADD', levels, priority, priority) end
    end
  end
  if redis.call('HLEN', waiting) <= redis.call('ZCARD', queued) then return end
  for _, id in ipairs(redis.call('HRANDFIELD', waiting, MENDED)) do
    if not redis.call('ZSCORE', queued, id) then
      local lane = decode_lane(redis.call('HGET', waiting, id))
      count_out(id, queue)
      place_lane(lane)
    end
  end
end

-- Mend a queue that doesn't seem right, and audit a few others. After an update there may be many such queues, which
-- are mended one after the other; a claim that finds nothing doesn't wait for that.
local function mend_queues(repair, queues)
  local turns, second, mended = math.ceil(#queues / AUDITED_QUEUES), math.floor(NOW), false
  for i = 1, #queues do
    local queue = queues[(i + second) % #queues + 1]
    if i % turns == 0 then
      mend_queue(repair, queue)
    elseif not mended and not seems_right(queue) then
      mended = true
      mend_queue(repair, queue)
    end
  end
end

-- Call ``mend`` for jobs in a state, others at each time, if fewer of them are ``known`` than there are.
local function mend_state(repair, state, known, mend)
  if redis.call('ZCARD', P .. 'state:' .. state) <= known then return end
  for _, id in ipairs(window(P .. 'state:' .. state, MENDED)) do
    local job = load(id)
    if not job then
      note_missing(repair, id, '')
    elseif job.state ~= state then
      redis.call('ZREM', P .. 'state:' .. state, id)
    else
      mend(id, job)
    end
  end
end

-- Find jobs that only their state knows, as a server that evicts keys has removed a queue or all leases. Those that run
-- get a ``lease``, for their workers may live.
local function mend_states(repair, queues, lease)
  local waiting = 0
  for _, queue in ipairs(queues) do waiting = waiting + redis.call('ZCARD', P .. 'queued:' .. queue) end
  mend_state(repair, 'queued', waiting, function(id, job)
    redis.call('SADD', P .. 'queues', job.queue)
    if not redis.call('ZSCORE', P .. 'queued:' .. job.queue, id) then wait_in_queue(id, job) end
  end)
  mend_state(repair, 'running', redis.call('ZCARD', P .. 'leases'), function(id)
    redis.call('ZADD', P .. 'leases', 'NX', lease, id)
  end)
end

-- Open lanes whose owners' jobs have ended without that.
local function mend_closed_lanes()
  for _, owner in ipairs(window(P .. 'closed', CLOSED_OWNERS)) do place_lanes_of(owner) end
end
