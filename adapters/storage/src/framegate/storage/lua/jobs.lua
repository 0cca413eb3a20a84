-- Jobs: what the scripts that change them share. The reference model of what they do, which tests hold them to, is
-- `framegate.core.testing.transitions`; the order in which jobs are claimed is that of ``scheduling.lua``.
--
-- Keys, all below one prefix, beside those of ``lanes.lua``, ``presence.lua``, ``sweeping.lua``, ``deliveries.lua``,
-- ``quotas.lua``, ``usage.lua``, ``operations.lua`` and ``lease_rate.lua``. Scripts touch keys of many hash slots, so
-- Redis Cluster can't run them.
--
-- job:ID              hash: ``job`` (what never changes, as JSON), what the scripts need of it, and what changes
-- jobs, owner:NAME, state:STATE, collection:OWNER:NAME    sorted sets of ids by order of submission
-- once:OWNER:DIGEST   a submission's idempotency, as JSON; ``idempotency.lua`` explains it
-- refused:OWNER:DIGEST    sorted set of refused submissions by time, for as long as they are remembered
-- removed:OWNER:NAME:ID    for a day, the place in its collection of a job that was removed
-- claimed             hash of running ids with their lanes, for those whose record is lost
-- leases              sorted set of running ids by the time at which their worker counts as dead
-- finished, records   sorted sets of ids by end: whose files, and then whose records, are to be removed
-- orphans             the lease of whoever looks for files without a record; ``orphans:searched`` for the next hour
-- installation        the name of this set of jobs, which also marks its files
-- files_mark          the mark of its files; `framegate.storage.installation` explains it
-- holds:WORKER        the id that a worker runs
-- paces               hash of models: seconds for a unit of work and for a job, and how many were counted, as JSON
-- result:OWNER:NAME   the newest id with that result name
-- share:SHARE         the id with that share id
-- character:NAME      a character as JSON, by its username
-- characters, characters:temporary    sorted sets of usernames by creation: all, and those to be removed
-- queues              set of the names of the queues in which jobs wait, or did until the last sweep
-- tickets:QUEUE       list of Dramatiq messages, each of which sends one worker to claim a job
-- seq, tickets        counters of submissions and of tickets
-- dq:…                the tickets of workers of 0.1, which push them for themselves; its namespace in Dramatiq
--
-- Channels: ``changed`` has the id of each job that has changed, ``worker:ID`` those of jobs that this worker is to
-- stop, ``cancel`` the same for workers of 0.1.
--
-- In a job's hash, ``extended`` is the lease that it was given without its worker. ``schema`` and ``written_by`` belong
-- to ``job``, ``result_schema`` and ``result_written_by`` to ``artifacts`` and ``error``; `framegate.storage.schema`
-- explains them.
--
-- A deleted job that still runs keeps its record, which no list or look-up shows, until its worker has left it. It
-- then counts as ended in 1970, so that retention removes the rest at once.

local STATES = {'queued', 'running', 'succeeded', 'failed', 'cancelled'}

local function is_state(text)
  for _, state in ipairs(STATES) do
    if text == state then return true end
  end
end

local function changed(id) publish('changed', id) end

-- A thousand waiting jobs need no thousand tickets: each claim pushes another one.
local MOST_TICKETS = 32

-- A message in the layout of Dramatiq's own; a contract test holds the two together.
local function push_ticket(queue)
  redis.call('RPUSH', P .. 'tickets:' .. queue, cjson.encode({
    queue_name = 'tickets', actor_name = 'run_next_job', args = {queue}, kwargs = {}, options = {},
    message_id = 't' .. redis.call('INCR', P .. 'tickets'), message_timestamp = math.floor(NOW * 1000)}))
end

-- Whether all lanes of a queue are those of paused models. It may have jobs and no lanes: other versions know none, and
-- the next claim makes them.
local function is_held_back(queue)
  if redis.call('EXISTS', P .. 'paused') == 0 then return false end
  local has_lanes = false
  for _, priority in ipairs(redis.call('ZRANGE', P .. 'levels:' .. queue, 0, -1)) do
    for _, bucket in ipairs(redis.call('SMEMBERS', P .. 'buckets:' .. priority .. ':' .. queue)) do
      if not is_paused(cjson.decode(bucket)[2]) then return false end
      has_lanes = true
    end
  end
  return has_lanes
end

-- How many tickets a queue lacks: one for each waiting job, up to `MOST_TICKETS`, and none while no worker may start
-- any of these jobs.
local function missing_tickets(queue)
  local wanted = math.min(redis.call('ZCARD', P .. 'queued:' .. queue), MOST_TICKETS)
  if wanted > 0 and is_held_back(queue) then wanted = 0 end
  return wanted - redis.call('LLEN', P .. 'tickets:' .. queue)
end

-- Push tickets for waiting jobs that have none, at most ``limit`` of them; returns their number.
local function replace_tickets(queue, limit)
  local missing = math.min(missing_tickets(queue), limit)
  for _ = 1, missing do push_ticket(queue) end
  return math.max(missing, 0)
end

-- Take away the tickets of jobs that no longer wait.
local function drop_tickets(queue)
  local surplus = -missing_tickets(queue)
  if surplus > 0 then redis.call('LTRIM', P .. 'tickets:' .. queue, 0, -surplus - 1) end
end

local function set_state(id, job, from, to)
  redis.call('ZREM', P .. 'state:' .. from, id)
  redis.call('ZADD', P .. 'state:' .. to, job.seq, id)
  redis.call('HSET', P .. 'job:' .. id, 'state', to)
  changed(id)
end

-- The job's fields, or nil if it has no record. What a damaged record lacks is replaced, so that each job can be ended
-- and removed.
local function load(id)
  local names = {'state', 'owner', 'queue', 'lane', 'attempt', 'worker', 'cancel', 'seq',
    'deleted', 'collection', 'result_name', 'share_id'}
  local values = redis.pcall('HMGET', P .. 'job:' .. id, unpack(names))
  if not values[1] then return nil end
  local job = {}
  for i, name in ipairs(names) do job[name] = values[i] or '' end
  if not is_state(job.state) then
    job.state = 'failed'
    for _, state in ipairs(STATES) do
      if redis.call('ZSCORE', P .. 'state:' .. state, id) then job.state = state end
    end
  end
  for _, name in ipairs({'attempt', 'seq'}) do
    if not integer_in(job[name]) then job[name] = '0' end
  end
  if not is_lane(job.lane) then
    job.lane = redis.call('HGET', P .. 'claimed', id) or redis.call('HGET', P .. 'waiting:' .. job.queue, id)
  end
  if not is_lane(job.lane) then
    job.lane = cjson.encode({job.queue, '0', job.owner, {['key:' .. job.owner] = 0}, ''})
  end
  return job
end

local function has_ended(job) return job.state ~= 'queued' and job.state ~= 'running' end

-- The job that had this number when it was submitted, if it has ended and still is the one with this id.
local function load_ended(id, seq)
  local job = load(id)
  if job and job.seq == seq and has_ended(job) then return job end
end

local function wait_in_queue(id, job)
  enter_lane(id, job)
  redis.call('SADD', P .. 'queues', job.queue)
  replace_tickets(job.queue, 1)
end

local function leave_worker(id, job)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('HDEL', P .. 'claimed', id)
  local held = P .. 'holds:' .. job.worker
  if redis.call('GET', held) == id then redis.call('DEL', held) end
  for queue in pairs(leave_groups(id, job)) do replace_tickets(queue, 1) end
end

local function set_result(id, job, name, payload, stamp)
  redis.call('HSET', P .. 'job:' .. id, name, payload, 'result_schema', stamp.schema,
    'result_written_by', stamp.written_by)
  add_to_record(id, job.owner, #payload)
end

-- ``stamp`` is that of the webhook deliveries; a job that is cancelled has none.
local function close(id, job, to, stamp)
  local ended = job.deleted == '' and NOW or 0
  if job.state == 'queued' then
    leave_lane(id, job)
    drop_tickets(job.queue)
  else
    leave_worker(id, job)
  end
  redis.call('HSET', P .. 'job:' .. id, 'finished_at', ended, 'message', '')
  count_end(id, job, to)
  redis.call('ZADD', P .. 'finished', ended, id)
  set_state(id, job, job.state, to)
  if job.deleted == '' then enqueue_webhooks(id, job, to, stamp) end
end

-- Ask a running job's worker to stop it.
local function request_cancel(id, job)
  redis.call('HSET', P .. 'job:' .. id, 'cancel', '1')
  publish('worker:' .. job.worker, id)
  publish('cancel', id)
end

local function requeue(id, job)
  leave_worker(id, job)
  redis.call('HSET', P .. 'job:' .. id, 'worker', '', 'progress', 0, 'message', '')
  redis.call('HDEL', P .. 'job:' .. id, 'started_at')
  wait_in_queue(id, job)
  set_state(id, job, 'running', 'queued')
end

-- Take a job out of every index in which it could be found.
local function hide(id, job)
  redis.call('ZREM', P .. 'jobs', id)
  redis.call('ZREM', P .. 'owner:' .. job.owner, id)
  -- A client that pages through the collection may remove the job that a page ended with, and continue after it.
  local place = job.owner .. ':' .. job.collection
  if redis.call('ZREM', P .. 'collection:' .. place, id) == 1 then
    redis.call('SET', P .. 'removed:' .. place .. ':' .. id, job.seq, 'EX', 86400)
  end
  local name = P .. 'result:' .. job.owner .. ':' .. job.result_name
  if redis.call('GET', name) == id then redis.call('DEL', name) end
  redis.call('DEL', P .. 'share:' .. job.share_id)
  set_stored(id, job.owner, 0)
  uncount_record(id, job.owner)
end

-- Drop what points at a job without a record, as far as it is known: a server that evicts keys has removed it. Its owner
-- and its collection may be unknown ('').
local function drop_missing(id, owner, collection)
  for _, state in ipairs(STATES) do
    redis.call('ZREM', P .. 'state:' .. state, id)
  end
  for _, index in ipairs({'jobs', 'leases', 'finished', 'records'}) do redis.call('ZREM', P .. index, id) end
  local lane = redis.call('HGET', P .. 'claimed', id)
  if is_lane(lane) then
    owner = cjson.decode(lane)[3]
    leave_groups(id, {lane = lane})
  end
  redis.call('HDEL', P .. 'claimed', id)
  redis.call('ZREM', P .. 'owner:' .. owner, id)
  redis.call('SREM', P .. 'queuedby:' .. owner, id)
  redis.call('ZREM', P .. 'collection:' .. owner .. ':' .. collection, id)
end

-- Whether the server has given the id that a client has chosen for a new job to another of its jobs. What 0.1 has
-- written doesn't say of which dialect it is.
local function is_in_use(new)
  if not new.client_id then return false end
  local job = redis.pcall('HMGET', P .. 'job:' .. new.client_id, 'owner', 'dialect', 'deleted')
  return job[1] == new.owner and (job[2] or new.dialect) == new.dialect and not job[3]
end

-- Why a new job is not admitted, the id of the job that is in its way, if it is one, and how much its owner has of
-- something, if it is that; nothing if it is admitted.
local function find_obstacle(new)
  if redis.call('EXISTS', P .. 'job:' .. new.id) == 1 then return {'exists', new.id} end
  if is_in_use(new) then return {'exists', new.client_id} end
  local found, limits = find_earlier(new), new.limits
  if found then return found end
  if limits.max_queued > 0 and redis.call('ZCARD', P .. 'state:queued') >= limits.max_queued then
    return {'full', ''}
  end
  local waiting = redis.call('SCARD', P .. 'queuedby:' .. new.owner)
  if limits.owner_max_queued > 0 and waiting >= limits.owner_max_queued then return {'owner_full', ''} end
  local running = redis.call('SCARD', P .. 'running:key:' .. new.owner)
  if limits.owner_max_active > 0 and waiting + running >= limits.owner_max_active then
    return {'owner_busy', ''}
  end
  local used = gpu_time_in_the_way(new.owner, limits.owner_daily_gpu_seconds or 0)
  if used then return {'owner_gpu_seconds', '', tostring(used), tostring(until_tomorrow())} end
  local stored = stored_in_the_way(new.owner, new.input_bytes or 0, limits.owner_max_stored or 0)
  if stored then return {'owner_stored', '', whole(stored)} end
  local recorded = records_in_the_way(new.owner, new.record_bytes or 0, limits.owner_max_records or 0)
  if recorded then return {'owner_records', '', whole(recorded)} end
end

-- The same, as the answer to a submission: a refusal for the sake of a limit is counted, and the hash of an earlier job
-- is there.
local function find_refusal(new)
  local obstacle = find_obstacle(new)
  if obstacle and obstacle[2] == '' then count_refusal(new) end
  if obstacle and obstacle[1] == 'earlier' then obstacle[3] = redis.call('HGETALL', P .. 'job:' .. obstacle[2]) end
  return obstacle
end
