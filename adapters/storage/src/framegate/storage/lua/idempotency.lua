-- Idempotency: which earlier job answers a submission. The reference model is `framegate.core.testing.idempotency`.
--
-- once:OWNER:DIGEST holds the newest job of an idempotency key: ``id``, ``fingerprint``, ``at`` (when it was made) and
-- ``repeat`` (whether by a submission that may be a repetition). Where the client counts its retries, every submission
-- that it does not mark as a retry makes a job of its own, so there may be several: ``others`` are the older ones, newest
-- first. Each has ``low`` and ``high``, the least and greatest number of retries among the submissions that it has
-- answered, and ``call``, the last of them.

local MAX_JOBS, MAX_REFUSALS = 32, 1000

local function idempotency_key(new) return P .. 'once:' .. new.owner .. ':' .. new.idempotency.digest end
local function refusals_key(new) return P .. 'refused:' .. new.owner .. ':' .. new.idempotency.digest end

local function is_retry(requested) return requested.retries ~= nil and requested.retries > 0 end

local function may_be_number(value) return value == nil or type(value) == 'number' end

-- Whether a job of such a record can be read.
local function is_remembered(job)
  return type(job) == 'table' and type(job.id) == 'string' and type(job.at) == 'number' and may_be_number(job.low)
    and may_be_number(job.high)
end

-- The jobs of earlier submissions with the same key that can still be found, newest first.
local function answering_jobs(new)
  local newest = decode_table(redis.call('GET', idempotency_key(new)))
  if not newest then return {} end
  local found = {}
  for _, job in ipairs({newest, unpack(type(newest.others) == 'table' and newest.others or {})}) do
    if is_remembered(job) and NOW - job.at <= new.idempotency.seconds then
      local fields = redis.call('HMGET', P .. 'job:' .. job.id, 'state', 'deleted')
      if fields[1] and not fields[2] then table.insert(found, job) end
    end
  end
  return found
end

local function encode_jobs(jobs)
  local others = {unpack(jobs, 2)}
  for _, job in ipairs(others) do job.others = nil end
  jobs[1].others = others[1] and others
  return cjson.encode(jobs[1])
end

-- Which of ``jobs`` answers a submission of a client that marks its retries.
local function answer_to(requested, jobs)
  for _, job in ipairs(jobs) do
    if requested.retries and job.call == requested.call then return job end
  end
  if not requested['repeat'] then
    for _, job in ipairs(jobs) do
      -- A retry made it while this, the first submission, was still being read.
      local overtaken = job['repeat'] and job.low ~= 0 and NOW - job.at <= requested.age
      if overtaken then return job end
    end
    return
  end
  for _, job in ipairs(jobs) do
    if requested.retries and (job.high or 0) < requested.retries then return job end
  end
  return jobs[1]
end

local function forget_old_refusals(new)
  redis.call('ZREMRANGEBYSCORE', refusals_key(new), '-inf', NOW - new.idempotency.seconds)
end

-- The job of an earlier submission with the same idempotency key, if there is one: whether the fingerprints agree
-- ('earlier') or not ('mismatch'), and its id. A retry that can be that of a refused submission is new work.
local function find_earlier(new)
  local requested = new.idempotency
  if not requested then return end
  if is_retry(requested) then
    forget_old_refusals(new)
    if redis.call('EXISTS', refusals_key(new)) == 1 then return end
  end
  local jobs = answering_jobs(new)
  local job = answer_to(requested, jobs)
  if not job then return end
  if job.fingerprint ~= requested.fingerprint then return {'mismatch', job.id} end
  if requested.retries then
    job.low = math.min(job.low or requested.retries, requested.retries)
    job.high = math.max(job.high or 0, requested.retries)
    job.call = requested.call
    redis.call('SET', idempotency_key(new), encode_jobs(jobs), 'KEEPTTL')
  end
  return {'earlier', job.id}
end

-- Remember the submission that has made the job ``id``.
local function remember_job(new, id)
  local requested = new.idempotency
  if not requested then return end
  local made = {id = id, fingerprint = requested.fingerprint, at = NOW, ['repeat'] = requested['repeat']}
  local jobs = {}
  if requested.retries then
    jobs = answering_jobs(new)
    made.low, made.high, made.call = requested.retries, requested.retries, requested.call
    forget_old_refusals(new)
    -- What a retry uses up is the refusal of its first submission, which therefore can't arrive any more.
    if is_retry(requested) and redis.call('ZPOPMIN', refusals_key(new))[1] then made.low = 0 end
  end
  table.insert(jobs, 1, made)
  while #jobs > MAX_JOBS do table.remove(jobs) end
  redis.call('SET', idempotency_key(new), encode_jobs(jobs), 'EX', requested.seconds)
end

-- Count the refusal of a submission whose client marks its retries, once however often it is called for it. A retry uses
-- up a refusal before it is refused itself.
local function count_refusal(new)
  local requested = new.idempotency
  if not (requested and requested.retries) then return end
  local key = refusals_key(new)
  forget_old_refusals(new)
  if is_retry(requested) and not redis.call('ZSCORE', key, requested.call) then redis.call('ZPOPMIN', key) end
  redis.call('ZADD', key, NOW, requested.call)
  redis.call('ZREMRANGEBYRANK', key, 0, -MAX_REFUSALS - 1)
  redis.call('EXPIRE', key, requested.seconds)
end
