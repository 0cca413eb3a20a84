-- When dead workers and lost tickets are looked for: at most once in a while over all processes, and only while a
-- job runs or waits. Nothing is written while nothing happens, so an idle server has nothing to sync.
--
-- Keys below the prefix:
--
-- swept               when anybody last looked for dead workers
-- mended              the same, but for processes of 0.1: those don't replace our tickets

local function is_idle()
  -- The former two are enough, unless a server that evicts keys has removed them.
  return redis.call('EXISTS', P .. 'leases', P .. 'queues', P .. 'state:queued', P .. 'state:running') == 0
end

-- For how many seconds nobody has swept; 0 if the clock was put back since.
local function silence()
  return math.max(NOW - tonumber(redis.call('GET', P .. 'swept') or 0), 0)
end

local function is_due(interval)
  if is_idle() then return false end
  local mended = tonumber(redis.call('GET', P .. 'mended') or 0)
  return mended > NOW or NOW - mended >= interval
end

local function note_sweep()
  change_in_memory(function() redis.call('MSET', P .. 'swept', NOW, P .. 'mended', NOW) end)
end
