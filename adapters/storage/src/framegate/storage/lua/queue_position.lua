-- Count the jobs of jobs' queues that are served before each of them.
-- Arguments: ids.
-- Returns: for each their number plus one, or nothing if the job does not wait.
--
-- Before an owner's k-th job come all jobs of higher levels, the owner's own first ones, the first k - 1 of each other
-- owner, and the k-th of those whose turn comes before this owner's. They are counted, not looked at; the number is
-- exact unless more than `MAX_STEPS` counts or `MAX_OWNERS` owners would have to be.
local MAX_STEPS, MAX_OWNERS = 200, 500

local counted = {}  -- how many owners have so many jobs at a level

local function position_of(id)
  local job = load(id)
  if not job or job.state ~= 'queued' then return false end
  local lane = decode_lane(job.lane)
  local turns, waitingby = P .. 'turns:' .. lane.level, P .. 'waitingby:' .. lane.level

  local function owners_with(jobs)
    local name = lane.level .. ' ' .. jobs
    counted[name] = counted[name] or redis.call('ZCOUNT', waitingby, jobs, '+inf')
    return counted[name]
  end

  -- The sum of ``owners_with`` from ``low`` to ``high``, at which it is known. It never grows, so where both ends are
  -- equal it is the same between them; what is left when there have been too many steps is taken to fall evenly.
  local steps = 0
  local function sum_between(low, at_low, high, at_high)
    if high == low then return at_low end
    if at_low == at_high or high == low + 1 or steps >= MAX_STEPS then
      return math.floor((at_low + at_high) * (high - low + 1) / 2)
    end
    steps = steps + 1
    local middle = math.floor((low + high) / 2)
    local at_middle = owners_with(middle)
    return sum_between(low, at_low, middle, at_middle) + sum_between(middle, at_middle, high, at_high) - at_middle
  end

  -- How many of the owners who come before this one have ``jobs`` jobs or more.
  local function owners_before_with(jobs)
    local before = redis.call('ZRANK', turns, lane.owner) or 0
    local many, all = owners_with(jobs), redis.call('ZCARD', waitingby)
    if before == 0 or jobs == 1 then return before end
    local function count(owners, key, is_counted)
      local number, scores = 0, owners[1] and redis.call('ZMSCORE', key, unpack(owners)) or {}
      for i, score in ipairs(scores) do
        if score and is_counted(tonumber(score), owners[i]) then number = number + 1 end
      end
      return number
    end
    if before <= MAX_OWNERS then
      local owners = redis.call('ZRANGE', turns, 0, before - 1)
      return count(owners, waitingby, function(waiting) return waiting >= jobs end)
    end
    local turn = tonumber(redis.call('ZSCORE', turns, lane.owner))
    local function comes_before(other_turn, owner)
      if other_turn ~= turn then return other_turn < turn end
      return redis.call('ZRANK', turns, owner) < before
    end
    if many <= MAX_OWNERS then
      return count(redis.call('ZRANGE', waitingby, jobs, '+inf', 'BYSCORE'), turns, comes_before)
    end
    if all - many <= MAX_OWNERS then
      local few = redis.call('ZRANGE', waitingby, '-inf', '(' .. jobs, 'BYSCORE')
      return before - count(few, turns, comes_before)
    end
    return math.floor(before * many / all)
  end

  local own = 0
  for _, name in ipairs(redis.call('SMEMBERS', P .. 'lanes:' .. lane.owner .. ':' .. lane.level)) do
    own = own + redis.call('ZCOUNT', P .. 'lane:' .. name, '-inf', job.seq)
  end
  local ahead = 0
  local depths = redis.call('ZRANGE', P .. 'depths:' .. lane.queue, 0, -1, 'WITHSCORES')
  for i = 1, #depths, 2 do
    if tonumber(depths[i]) > tonumber(lane.priority) then ahead = ahead + tonumber(depths[i + 1]) end
  end
  if own > 1 then
    -- This owner is counted with the others at each step.
    ahead = ahead + sum_between(1, owners_with(1), own - 1, owners_with(own - 1)) - (own - 1)
  end
  return ahead + owners_before_with(own) + own
end

local positions = {}
for i, id in ipairs(ARGV) do positions[i] = position_of(id) end
return positions
