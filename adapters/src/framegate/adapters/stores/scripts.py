"""Every change of a job, each as one atomic Lua script. `framegate.core.jobs` says what they must do.

Keys, all below one prefix (no Redis Cluster: a script touches keys of many slots), beside those of `lanes`
and `delivery_scripts`:

job:ID              hash: ``job`` (what never changes, as JSON), what the scripts need of it, and what changes
jobs, owner:NAME, state:STATE, collection:OWNER:NAME    sorted sets of ids by order of submission
once:OWNER:DIGEST   what is remembered of a submission, as JSON: its job's id, fingerprint, time and kind
removed:OWNER:NAME:ID    for a day, the place in its collection of a job that was removed
leases              sorted set of running ids by the time at which their worker counts as dead
swept               when somebody last looked for dead workers
finished, records   sorted sets of ids by end: whose files, and then whose records, are to be removed
installation        the name of this set of jobs, which also marks its files
holds:WORKER        the id that a worker runs
result:OWNER:NAME   the newest id with that result name
share:SHARE         the id with that share id
character:NAME      a character as JSON, by its username
characters, characters:temporary    sorted sets of usernames by creation: all, and those to be removed
dq:…                Dramatiq's own keys (its namespace is PREFIX .. "dq")

Times are the server's clock: hosts need not agree on theirs.

A deleted job that still runs has its record, which nobody is shown, until its worker has left it. It then
counts as ended in 1970, so that retention removes what is left at once.
"""

from framegate.adapters.stores.delivery_scripts import OWE_WEBHOOKS
from framegate.adapters.stores.lanes import LANES

_PRELUDE = (
    """
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""
    + LANES
    + OWE_WEBHOOKS
    + """
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

-- Tickets for waiting jobs that have none, but at most so many; their number.
local function replace_tickets(queue, most)
  local waiting = redis.call('ZCARD', P .. 'queued:' .. queue)
  local missing = math.min(waiting - redis.call('LLEN', P .. 'dq:' .. queue), most)
  for _ = 1, missing do push_ticket(queue) end
  return math.max(missing, 0)
end

local function set_state(id, job, from, to)
  redis.call('ZREM', P .. 'state:' .. from, id)
  redis.call('ZADD', P .. 'state:' .. to, job.seq, id)
  redis.call('HSET', P .. 'job:' .. id, 'state', to)
  changed(id)
end

local function load(id)
  local names = {'state', 'owner', 'queue', 'lane', 'attempt', 'worker', 'cancel', 'seq', 'progress',
    'deleted', 'collection', 'result_name', 'share_id'}
  local values = redis.call('HMGET', P .. 'job:' .. id, unpack(names))
  if not values[1] then return nil end
  local job = {}
  for i, name in ipairs(names) do job[name] = values[i] or '' end
  return job
end

local function wait_in_queue(id, job)
  enter_lane(id, job)
  redis.call('SADD', P .. 'queues', job.queue)
  push_ticket(job.queue)
end

local function leave_worker(id, job)
  redis.call('ZREM', P .. 'leases', id)
  local held = P .. 'holds:' .. job.worker
  if redis.call('GET', held) == id then redis.call('DEL', held) end
  if leave_groups(id, job) then replace_tickets(job.queue, 1) end
end

local function close(id, job, to)
  local ended = job.deleted == '' and NOW or 0
  if job.state == 'queued' then leave_lane(id, job) else leave_worker(id, job) end
  redis.call('HSET', P .. 'job:' .. id, 'finished_at', ended, 'message', '')
  redis.call('ZADD', P .. 'finished', ended, id)
  set_state(id, job, job.state, to)
  if job.deleted == '' then owe_webhooks(id, job, to) end
end

local function requeue(id, job)
  leave_worker(id, job)
  redis.call('HSET', P .. 'job:' .. id, 'worker', '', 'progress', 0, 'message', '')
  redis.call('HDEL', P .. 'job:' .. id, 'started_at')
  wait_in_queue(id, job)
  set_state(id, job, 'running', 'queued')
end

-- Take a job out of all that somebody could find it in.
local function hide(id, job)
  redis.call('ZREM', P .. 'jobs', id)
  redis.call('ZREM', P .. 'owner:' .. job.owner, id)
  -- Whoever pages through the collection and removes what a page ends with can still go on after it.
  local place = job.owner .. ':' .. job.collection
  if redis.call('ZREM', P .. 'collection:' .. place, id) == 1 then
    redis.call('SET', P .. 'removed:' .. place .. ':' .. id, job.seq, 'EX', 86400)
  end
  local name = P .. 'result:' .. job.owner .. ':' .. job.result_name
  if redis.call('GET', name) == id then redis.call('DEL', name) end
  redis.call('DEL', P .. 'share:' .. job.share_id)
end

local function mark_of(new) return P .. 'once:' .. new.owner .. ':' .. new.once.digest end

-- The job that a submission made before, if it is known: how the new one agrees with it, and its id.
local function earlier(new)
  local once = new.once
  local text = once and redis.call('GET', mark_of(new))
  if not text then return end
  local mark = cjson.decode(text)
  local first = redis.call('HMGET', P .. 'job:' .. mark.id, 'state', 'deleted')
  if not first[1] or first[2] then return end
  if not once['repeat'] and not (mark['repeat'] and NOW - mark.at <= once.age) then return end
  return {mark.fingerprint == once.fingerprint and 'earlier' or 'mismatch', mark.id}
end

-- What stands against a new job, and the id of the job that does, if it is one.
local function objection(new)
  if redis.call('EXISTS', P .. 'job:' .. new.id) == 1 then return {'exists', new.id} end
  local found, limits = earlier(new), new.limits
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
end
"""
)

# id, owner, limits and once of a new job as JSON → {outcome, id of the job in question}
FORESEE = (
    _PRELUDE
    + """
return objection(cjson.decode(ARGV[1])) or {'new', ''}
"""
)

# the same with all that the keys need, the job's own JSON → {outcome, id of the job in question}
SUBMIT = (
    _PRELUDE
    + """
local new, json = cjson.decode(ARGV[1]), ARGV[2]
local id, owner, key = new.id, new.owner, P .. 'job:' .. new.id
-- The same text again is a repeat by the client library whose first answer was lost.
if redis.call('HGET', key, 'job') == json then return {'new', id} end
local against = objection(new)
if against then return against end
local seq = redis.call('INCR', P .. 'seq')
redis.call('HSET', key, 'job', json, 'state', 'queued', 'owner', owner, 'queue', new.queue, 'lane', new.lane,
  'seq', seq, 'collection', new.collection, 'result_name', new.result_name,
  'share_id', new.share_id, 'attempt', 0, 'worker', '', 'progress', 0, 'message', '')
redis.call('ZADD', P .. 'jobs', seq, id)
redis.call('ZADD', P .. 'owner:' .. owner, seq, id)
redis.call('ZADD', P .. 'state:queued', seq, id)
if new.collection ~= '' then
  redis.call('ZADD', P .. 'collection:' .. owner .. ':' .. new.collection, seq, id)
end
if new.result_name ~= '' then redis.call('SET', P .. 'result:' .. owner .. ':' .. new.result_name, id) end
if new.share_id ~= '' then redis.call('SET', P .. 'share:' .. new.share_id, id) end
if new.once then
  local mark = {id = id, fingerprint = new.once.fingerprint, at = NOW, ['repeat'] = new.once['repeat']}
  redis.call('SET', mark_of(new), cjson.encode(mark), 'EX', new.once.seconds)
end
wait_in_queue(id, load(id))
return {'new', id}
"""
)

# queue, worker, lease in seconds, the worker's models as JSON → the job's hash with its id, or nothing
CLAIM = (
    _PRELUDE
    + """
local queue, worker, lease, models = ARGV[1], ARGV[2], tonumber(ARGV[3]), {}
for _, model in ipairs(cjson.decode(ARGV[4])) do models[model] = true end
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
local id = next_in(queue, models)
if not id then return {} end
local job = load(id)
leave_lane(id, job)
take_turn(job)
enter_groups(id, job)
redis.call('ZADD', P .. 'leases', NOW + lease, id)
redis.call('SET', P .. 'holds:' .. worker, id, 'EX', 86400)
redis.call('HSET', P .. 'job:' .. id, 'worker', worker, 'attempt', job.attempt + 1, 'started_at', NOW,
  'progress', 0, 'message', '')
set_state(id, job, 'queued', 'running')
return answer(id)
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
if not job or job.deleted ~= '' then return false end
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

# id → the job's hash as it was before, or nothing
DELETE = (
    _PRELUDE
    + """
local id = ARGV[1]
local job = load(id)
if not job or job.deleted ~= '' then return {} end
local key = P .. 'job:' .. id
local before = redis.call('HGETALL', key)
hide(id, job)
redis.call('HSET', key, 'deleted', '1')
job.deleted = '1'
if job.state == 'queued' then
  close(id, job, 'cancelled')
elseif job.state == 'running' then
  redis.call('HSET', key, 'cancel', '1')
  redis.call('PUBLISH', P .. 'cancel', id)
else
  redis.call('HSET', key, 'finished_at', 0)
  redis.call('ZREM', P .. 'records', id)
  redis.call('ZADD', P .. 'finished', 0, id)
end
changed(id)
return before
"""
)

# id → how many jobs of its queue are served before it, plus one; nothing if it does not wait
POSITION = (
    _PRELUDE
    + """
local job = load(ARGV[1])
if not job or job.state ~= 'queued' then return false end
return position_of(job)
"""
)

# max attempts, error JSON, most tickets to add at once per queue, seconds without a sweep after which workers
# get another lease, lease in seconds → {jobs whose worker died, tickets added}
SWEEP = (
    _PRELUDE
    + """
local last = tonumber(redis.call('GET', P .. 'swept') or 0)
redis.call('SET', P .. 'swept', NOW)
if NOW - last > tonumber(ARGV[4]) then
  -- Nobody could reach this server, so a worker whose lease ran out may well live.
  local lease = NOW + tonumber(ARGV[5])
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', lease)) do
    redis.call('ZADD', P .. 'leases', lease, id)
  end
end
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
  added = added + replace_tickets(queue, tonumber(ARGV[3]))
end
return {#lost, added}
"""
)

# id, end → notes that the files of a job are gone, unless its record is, too
FILES_REMOVED = """
local P, id = KEYS[1], ARGV[1]
redis.call('ZREM', P .. 'finished', id)
if redis.call('EXISTS', P .. 'job:' .. id) == 1 then redis.call('ZADD', P .. 'records', ARGV[2], id) end
"""

# id → removes the record of a job that has ended and all that points at it
FORGET = (
    _PRELUDE
    + """
local id = ARGV[1]
local job = load(id)
if job and (job.state == 'queued' or job.state == 'running') then return end
redis.call('ZREM', P .. 'finished', id)
redis.call('ZREM', P .. 'records', id)
if not job then return end
hide(id, job)
redis.call('ZREM', P .. 'state:' .. job.state, id)
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
