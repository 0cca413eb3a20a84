-- Count the jobs of jobs' queues that are served before each of them.
-- Arguments: ids.
-- Returns: for each their number plus one, or nothing if the job does not wait.
--
-- Before an owner's k-th job come all jobs of higher levels, the owner's own first ones, the first k - 1 of each other
-- owner, and the k-th of those whose turn comes before this owner's. They are counted, not looked at; the number is
-- exact unless more than `MAX_STEPS` counts or `MAX_OWNERS` owners would have to be.
local MAX_STEPS, MAX_OWNERS = 200, 500

-- What is the same for several of the jobs is looked up once.
local known = {}

local function once(name, look_up)
  if known[name] == nil then known[name] = look_up() end
  return known[name]
end

-- The number of jobs of higher levels in the lane's queue.
local function jobs_above(lane)
  return once('above ' .. lane.level, function()
    local above, depths = 0, redis.call('ZRANGE', P .. 'depths:' .. lane.queue, 0, -1, 'WITHSCORES')
    for i = 1, #depths, 2 do
      if tonumber(depths[i]) > tonumber(lane.priority) then above = above + tonumber(depths[i + 1]) end
    end
    return above
  end)
end

-- How many of its owner's jobs are served up to one, with its number, at its level.
local function own_jobs(lane, seq)
  local own = 0
  local lanes = once('lanes ' .. lane.member, function()
    return redis.call('SMEMBERS', P .. 'lanes:' .. lane.owner .. ':' .. lane.level)
  end)
  for _, name in ipairs(lanes) do own = own + redis.call('ZCOUNT', P .. 'lane:' .. name, '-inf', seq) end
  return own
end

-- How many owners have so many jobs at a level.
local function owners_with(jobs, level)
  return once('owners ' .. jobs .. ' ' .. level, function()
    return redis.call('ZCOUNT', P .. 'waitingby:' .. level, jobs, '+inf')
  end)
end

-- The sum of ``owners_with`` from ``low`` to ``high``. It never grows, so where both ends are equal it is the same
-- between them; what is left when there have been too many steps is taken to fall evenly.
local function sum_between(low, high, level)
  local steps = 0
  local function sum(from, at_from, to, at_to)
    if to == from then return at_from end
    if at_from == at_to or to == from + 1 or steps >= MAX_STEPS then
      return math.floor((at_from + at_to) * (to - from + 1) / 2)
    end
    steps = steps + 1
    local middle = math.floor((from + to) / 2)
    local at_middle = owners_with(middle, level)
    return sum(from, at_from, middle, at_middle) + sum(middle, at_middle, to, at_to) - at_middle
  end
  return sum(low, owners_with(low, level), high, owners_with(high, level))
end

-- The same from 1; for a level this is called with numbers that never fall, so each adds its difference to the last.
local last_sums = {}

local function sum_to(high, level)
  local last = last_sums[level] or {to = 0, sum = 0}
  if high > last.to then
    last = {to = high, sum = last.sum + sum_between(last.to + 1, high, level)}
    last_sums[level] = last
  end
  return last.sum
end

-- The places in the order of turns of up to `MAX_OWNERS` owners: those with the most jobs first, or those with the fewest.
local function places_by_jobs(level, is_most_first)
  return once((is_most_first and 'most ' or 'fewest ') .. level, function()
    local places, call = {}, {'ZRANGE', P .. 'waitingby:' .. level, 0, MAX_OWNERS - 1, is_most_first and 'REV' or nil}
    for i, owner in ipairs(redis.call(unpack(call))) do
      places[i] = redis.call('ZRANK', P .. 'turns:' .. level, owner) or math.huge
    end
    return places
  end)
end

-- The jobs of the first `MAX_OWNERS` owners in the order of turns.
local function jobs_by_turn(level)
  return once('by turn ' .. level, function()
    local found, owners = {}, redis.call('ZRANGE', P .. 'turns:' .. level, 0, MAX_OWNERS - 1)
    for i, jobs in ipairs(redis.call('ZMSCORE', P .. 'waitingby:' .. level, unpack(owners))) do
      found[i] = tonumber(jobs or 0)
    end
    return found
  end)
end

-- How many of the first numbers, up to the ``last``, are ``least`` or more.
local function count_from(least, numbers, last)
  local count = 0
  for i = 1, last do
    if numbers[i] >= least then count = count + 1 end
  end
  return count
end

-- How many of the owners who come before a lane's have ``jobs`` jobs or more.
local function owners_before_with(jobs, lane)
  local level = lane.level
  local before = once('before ' .. lane.member, function()
    return redis.call('ZRANK', P .. 'turns:' .. level, lane.owner) or 0
  end)
  if before == 0 or jobs == 1 then return before end
  if before <= MAX_OWNERS then return count_from(jobs, jobs_by_turn(level), before) end
  local many, all = owners_with(jobs, level), owners_with(1, level)
  if many <= MAX_OWNERS then return many - count_from(before, places_by_jobs(level, true), many) end
  if all - many <= MAX_OWNERS then return before - (all - many) + count_from(before, places_by_jobs(level), all - many) end
  return math.floor(before * many / all)
end

local positions, waiting = {}, {}
for i, id in ipairs(ARGV) do
  local job = load(id)
  positions[i] = false
  if job and job.state == 'queued' then
    local lane = decode_lane(job.lane)
    waiting[#waiting + 1] = {place = i, lane = lane, own = own_jobs(lane, job.seq)}
  end
end
table.sort(waiting, function(one, other) return one.own < other.own end)
for _, job in ipairs(waiting) do
  local lane, own = job.lane, job.own
  local ahead = jobs_above(lane) + owners_before_with(own, lane) + own
  -- This owner is counted with the others at each step.
  if own > 1 then ahead = ahead + sum_to(own - 1, lane.level) - (own - 1) end
  positions[job.place] = ahead
end
return positions
