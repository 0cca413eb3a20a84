"""Every change of a job, each as one atomic Lua script. `framegate.core.jobs` says what they must do.

Keys, all below one prefix (no Redis Cluster: a script touches keys of many slots):

job:ID              hash: ``job`` (what never changes, as JSON) and the fields that do
jobs, owner:NAME, state:STATE    sorted sets of ids by order of submission
queued:QUEUE        sorted set of ids by order of submission: who is next
queuedby:NAME, running:NAME      sets of ids, for the limits of a key
leases              sorted set of running ids by the time at which their worker counts as dead
finished, records   sorted sets of ids by end: whose files, and then whose records, are to be removed
holds:WORKER        the id that a worker runs
result:OWNER:NAME   the newest id with that result name
share:SHARE         the id with that share id
character:NAME      a character as JSON, by its username
characters, characters:temporary    sorted sets of usernames by creation: all, and those to be removed
dq:…                Dramatiq's own keys (its namespace is PREFIX .. "dq")

Times are the server's clock: hosts need not agree on theirs.
"""

_PRELUDE = """
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) + tonumber(time[2]) / 1000000

local function changed(id) redis.call('PUBLISH', P .. 'changed', id) end

-- A message in the layout of Dramatiq's own enqueue; a contract test holds the two together.
local function push_ticket(queue)
  local id = 't' .. redis.call('INCR', P .. 'tickets')
  redis.call('HSET', P .. 'dq:' .. queue .. '.msgs', id, cjson.encode({
    queue_name = queue, actor_name = 'run_next_job', args = {queue}, kwargs = {},
    options = {redis_message_id = id}, message_id = id,
    message_timestamp = math.floor(NOW * 1000)}))
  redis.call('RPUSH', P .. 'dq:' .. queue, id)
end

local function set_state(id, job, from, to)
  redis.call('ZREM', P .. 'state:' .. from, id)
  redis.call('ZADD', P .. 'state:' .. to, job.seq, id)
  redis.call('HSET', P .. 'job:' .. id, 'state', to)
  changed(id)
end

local function load(id)
  local names = {'state', 'owner', 'queue', 'attempt', 'worker', 'cancel', 'seq', 'max_running', 'progress'}
  local values = redis.call('HMGET', P .. 'job:' .. id, unpack(names))
  if not values[1] then return nil end
  local job = {}
  for i, name in ipairs(names) do job[name] = values[i] or '' end
  return job
end

local function wait_in_queue(id, job)
  redis.call('ZADD', P .. 'queued:' .. job.queue, job.seq, id)
  redis.call('SADD', P .. 'queuedby:' .. job.owner, id)
  redis.call('SADD', P .. 'queues', job.queue)
  push_ticket(job.queue)
end

local function leave_queue(id, job)
  redis.call('ZREM', P .. 'queued:' .. job.queue, id)
  redis.call('SREM', P .. 'queuedby:' .. job.owner, id)
end

local function leave_worker(id, job)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('SREM', P .. 'running:' .. job.owner, id)
  local held = P .. 'holds:' .. job.worker
  if redis.call('GET', held) == id then redis.call('DEL', held) end
end

local function close(id, job, to)
  if job.state == 'queued' then leave_queue(id, job) else leave_worker(id, job) end
  redis.call('HSET', P .. 'job:' .. id, 'finished_at', NOW, 'message', '')
  redis.call('ZADD', P .. 'finished', NOW, id)
  set_state(id, job, job.state, to)
end

local function requeue(id, job)
  leave_worker(id, job)
  redis.call('HSET', P .. 'job:' .. id, 'worker', '', 'progress', 0, 'message', '')
  redis.call('HDEL', P .. 'job:' .. id, 'started_at')
  wait_in_queue(id, job)
  set_state(id, job, 'running', 'queued')
end
"""

# id, job JSON, owner, queue, owner's max_running, max_queued, owner's max_queued, owner's max_active,
# result name, share id → outcome
SUBMIT = (
    _PRELUDE
    + """
local id, json, owner, queue = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = P .. 'job:' .. id
local known = redis.call('HGET', key, 'job')
if known then
  -- The same text again is a repeat by the client library whose first answer was lost.
  if known == json then return 'ok' else return 'exists' end
end
local max_queued, owner_max_queued, owner_max_active = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if max_queued > 0 and redis.call('ZCARD', P .. 'state:queued') >= max_queued then return 'full' end
local waiting = redis.call('SCARD', P .. 'queuedby:' .. owner)
if owner_max_queued > 0 and waiting >= owner_max_queued then return 'owner_full' end
if owner_max_active > 0 and waiting + redis.call('SCARD', P .. 'running:' .. owner) >= owner_max_active then
  return 'owner_busy'
end
local job = {seq = redis.call('INCR', P .. 'seq'), owner = owner, queue = queue}
redis.call('HSET', key, 'job', json, 'state', 'queued', 'owner', owner, 'queue', queue, 'seq', job.seq,
  'max_running', ARGV[5], 'attempt', 0, 'worker', '', 'progress', 0, 'message', '')
redis.call('ZADD', P .. 'jobs', job.seq, id)
redis.call('ZADD', P .. 'owner:' .. owner, job.seq, id)
redis.call('ZADD', P .. 'state:queued', job.seq, id)
if ARGV[9] ~= '' then redis.call('SET', P .. 'result:' .. owner .. ':' .. ARGV[9], id) end
if ARGV[10] ~= '' then redis.call('SET', P .. 'share:' .. ARGV[10], id) end
wait_in_queue(id, job)
return 'ok'
"""
)

# queue, worker, lease in seconds → the job's hash with its id, or nothing
CLAIM = (
    _PRELUDE
    + """
local queue, worker, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local function answer(id)
  local fields = redis.call('HGETALL', P .. 'job:' .. id)
  table.insert(fields, 'id')
  table.insert(fields, id)
  return fields
end
local held = redis.call('GET', P .. 'holds:' .. worker)
if held then
  local job = load(held)
  if job and job.state == 'running' and job.worker == worker then
    redis.call('ZADD', P .. 'leases', NOW + lease, held)
    return answer(held)  -- the answer to an earlier claim was lost
  end
end
local first, page = 0, 100
while true do
  local ids = redis.call('ZRANGE', P .. 'queued:' .. queue, first, first + page - 1)
  for _, id in ipairs(ids) do
    local job = load(id)
    local limit = tonumber(job.max_running)
    if limit == 0 or redis.call('SCARD', P .. 'running:' .. job.owner) < limit then
      leave_queue(id, job)
      redis.call('SADD', P .. 'running:' .. job.owner, id)
      redis.call('ZADD', P .. 'leases', NOW + lease, id)
      redis.call('SET', P .. 'holds:' .. worker, id, 'EX', 86400)
      redis.call('HSET', P .. 'job:' .. id, 'worker', worker, 'attempt', job.attempt + 1, 'started_at', NOW,
        'progress', 0, 'message', '')
      set_state(id, job, 'queued', 'running')
      return answer(id)
    end
  end
  if #ids < page then return {} end
  first = first + page
end
"""
)

# id, worker, attempt, lease in seconds, progress or '', message → 'ok' | 'cancel' | 'lost'
BEAT = (
    _PRELUDE
    + """
local id = ARGV[1]
local job = load(id)
if not job or job.state ~= 'running' or job.worker ~= ARGV[2] or job.attempt ~= ARGV[3] then return 'lost' end
redis.call('ZADD', P .. 'leases', NOW + tonumber(ARGV[4]), id)
if ARGV[5] ~= '' then
  local progress = math.max(tonumber(job.progress), math.min(1, tonumber(ARGV[5])))
  redis.call('HSET', P .. 'job:' .. id, 'progress', progress, 'message', ARGV[6])
  changed(id)
end
if job.cancel ~= '' then return 'cancel' end
return 'ok'
"""
)

# id, worker, attempt, outcome (succeeded | failed | cancelled | handed_back), artifacts or error as JSON
# → the job's state, or 'lost'
FINISH = (
    _PRELUDE
    + """
local id, worker, attempt, outcome, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = load(id)
if not job or job.worker ~= worker or job.attempt ~= attempt then return 'lost' end
if job.state ~= 'running' then return job.state end  -- said before; that answer was lost
if job.cancel ~= '' then outcome = 'cancelled' end
local key = P .. 'job:' .. id
if outcome == 'handed_back' then
  redis.call('HSET', key, 'attempt', job.attempt - 1)
  requeue(id, job)
  return 'queued'
end
if outcome == 'succeeded' then redis.call('HSET', key, 'artifacts', payload, 'progress', 1) end
if outcome == 'failed' then redis.call('HSET', key, 'error', payload) end
close(id, job, outcome)
return outcome
"""
)

# id → the state after it, or nothing
CANCEL = (
    _PRELUDE
    + """
local id = ARGV[1]
local job = load(id)
if not job then return false end
if job.state == 'queued' then
  close(id, job, 'cancelled')
  return 'cancelled'
end
if job.state == 'running' and job.cancel == '' then
  redis.call('HSET', P .. 'job:' .. id, 'cancel', '1')
  redis.call('PUBLISH', P .. 'cancel', id)
  changed(id)
end
return job.state
"""
)

# max attempts, error JSON, most tickets to add at once per queue → {jobs whose worker died, tickets added}
SWEEP = (
    _PRELUDE
    + """
local lost = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', NOW, 'LIMIT', 0, 1000)
for _, id in ipairs(lost) do
  local job = load(id)
  if not job or job.state ~= 'running' then
    redis.call('ZREM', P .. 'leases', id)
  elseif job.cancel ~= '' then
    close(id, job, 'cancelled')
  elseif tonumber(job.attempt) >= tonumber(ARGV[1]) then
    redis.call('HSET', P .. 'job:' .. id, 'error', ARGV[2])
    close(id, job, 'failed')
  else
    requeue(id, job)
  end
end
local added = 0
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  local waiting = redis.call('ZCARD', P .. 'queued:' .. queue)
  local missing = math.min(waiting - redis.call('LLEN', P .. 'dq:' .. queue), tonumber(ARGV[3]))
  for _ = 1, missing do push_ticket(queue) end
  added = added + math.max(missing, 0)
end
return {#lost, added}
"""
)

# id, result name, share id → removes the record of a finished job and all that points at it
FORGET = (
    _PRELUDE
    + """
local id = ARGV[1]
local job = load(id)
redis.call('ZREM', P .. 'records', id)
if not job then return end
redis.call('ZREM', P .. 'jobs', id)
redis.call('ZREM', P .. 'owner:' .. job.owner, id)
redis.call('ZREM', P .. 'state:' .. job.state, id)
if ARGV[2] ~= '' then
  local name = P .. 'result:' .. job.owner .. ':' .. ARGV[2]
  if redis.call('GET', name) == id then redis.call('DEL', name) end
end
if ARGV[3] ~= '' then redis.call('DEL', P .. 'share:' .. ARGV[3]) end
redis.call('DEL', P .. 'job:' .. id)
"""
)

# username, character JSON, creation, '1' if it is temporary → 1, or 0 if the name is taken
ADD_CHARACTER = """
local P, name = KEYS[1], ARGV[1]
local known = redis.call('GET', P .. 'character:' .. name)
-- The same text again is a repeat by the client library whose first answer was lost.
if known then return known == ARGV[2] and 1 or 0 end
redis.call('SET', P .. 'character:' .. name, ARGV[2])
redis.call('ZADD', P .. 'characters', ARGV[3], name)
if ARGV[4] == '1' then redis.call('ZADD', P .. 'characters:temporary', ARGV[3], name) end
return 1
"""
