-- When dead workers and lost tickets are looked for: at most once in a while over all processes, and only while a
-- job runs or waits. ``swept`` says when that was last done. Nothing else is written while nothing happens, so an
-- idle server has nothing to sync.

local function is_idle()
  return redis.call('EXISTS', P .. 'leases', P .. 'queues') == 0
end

-- For how many seconds nobody has swept; 0 if the clock was put back since.
local function silence()
  return math.max(NOW - tonumber(redis.call('GET', P .. 'swept') or 0), 0)
end

local function is_due(interval)
  if is_idle() then return false end
  local swept = tonumber(redis.call('GET', P .. 'swept') or 0)
  return swept > NOW or NOW - swept >= interval
end
