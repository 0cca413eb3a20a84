-- What owners have used on each day, in UTC by the server's clock. It is counted in the steps that submit and end jobs,
-- so each job is counted once however often a call is repeated, and stays counted when its record is removed.
--
-- Keys, below the same prefix as those of ``jobs.lua``, where DAY counts the days since 1970:
--
-- used:DAY            set of the owners who have used anything on that day
-- used:DAY:OWNER      hash of sums: ``jobs`` that were submitted and the ``input_bytes`` of these; jobs that ended by
--                     state (``succeeded``, ``failed``, ``cancelled``), the ``result_bytes`` of these, and the
--                     ``microseconds`` for which their last attempts ran
--
-- What a process of 0.1 submits or ends is not counted.

local DAY, USAGE_KEPT = 86400, 400 * 86400

local function today() return math.floor(NOW / DAY) end

-- Add to a sum; one that is damaged is counted from there on, as an error here would keep jobs from ending.
local function add_to_used(used, name, number)
  local text = string.format('%.0f', number)
  local sum = redis.pcall('HINCRBY', used, name, text)
  if type(sum) == 'number' then return sum end
  redis.call('HDEL', used, name)
  return redis.call('HINCRBY', used, name, text)
end

local function count_usage(owner, name, number)
  if number == 0 then return end
  local day = P .. 'used:' .. today()
  local used = day .. ':' .. owner
  if add_to_used(used, name, number) ~= number then return end
  -- It may be the first of the day.
  redis.call('EXPIRE', used, USAGE_KEPT)
  if redis.call('SADD', day, owner) == 1 then redis.call('EXPIRE', day, USAGE_KEPT) end
end

-- Count the end of a job; of one that ran, for how long its last attempt did.
local function count_end(id, job, outcome)
  count_usage(job.owner, outcome, 1)
  if job.state ~= 'running' then return end
  local started = number_in(redis.call('HGET', P .. 'job:' .. id, 'started_at')) or NOW
  count_usage(job.owner, 'microseconds', math.max(math.floor((NOW - started) * 1000000 + 0.5), 0))
end

-- For how many seconds an owner's jobs have run today, if that is ``limit`` or more; nothing if it is less. A limit of
-- 0 is none.
local function gpu_time_in_the_way(owner, limit)
  if limit == 0 then return end
  local used = redis.call('HGET', P .. 'used:' .. today() .. ':' .. owner, 'microseconds')
  local seconds = (integer_in(used) or 0) / 1000000
  if seconds >= limit then return seconds end
end

-- In how many seconds the next day begins.
local function until_tomorrow() return math.ceil((today() + 1) * DAY - NOW) end
