-- What operators hold back: models that no worker starts, and workers that take no jobs; and what they ask for.
--
-- Keys, below the same prefix as those of ``jobs.lua``. Processes of 0.1 don't look at them.
--
-- paused              hash of the ids of paused models, each with the time since when
-- drained             hash of the names of drained workers, each with the time since when: HOST, HOST/DEVICE, or the id
--                     of one worker, whose entry ends when it withdraws, or long after it has died
-- model_requests      hash of the ids of models, each with the latest request to load or unload it, as JSON: number,
--                     load, at, and the problem that ended it (``begin_load.lua``)
-- model_requests:last the number of the latest one
-- begun_loads         hash of the ids of workers, each with the requested load that it has begun and neither ended nor
--                     left, as JSON: model, by (the worker as people know it)
-- begun_loads:beats   sorted set of these workers by when they were last heard
-- begun_loads:doubts  hash of those of which it was doubted that they live, as JSON: since, and asked (the latest time)

local function is_paused(model) return redis.call('HEXISTS', P .. 'paused', model) == 1 end

-- Whether a worker is drained, by one of its names.
local function is_drained(names)
  for _, since in ipairs(redis.call('HMGET', P .. 'drained', unpack(names))) do
    if since then return true end
  end
  return false
end
