-- What owners keep: the bytes of their jobs' files and of their characters' images, and of their jobs' records.
--
-- Keys, below the same prefix as those of ``jobs.lua``:
--
-- job:ID ``stored``   the bytes of a job's inputs and results, as long as they have not been removed
-- charactersby:OWNER  hash of an owner's characters, but for temporary ones, with the bytes of their images
-- stored:OWNER        the sum of these, for at most an hour
-- job:ID ``record``   the bytes of a job's record, until it is deleted
-- recorded:OWNER      hash: the sum of these (``bytes``), and the number of the jobs in it (``jobs``)
--
-- The first sum is made when a limit asks for it, and kept up by whatever changes its parts. Versions that know nothing of it
-- change them too, while hosts are updated; therefore it is made again from time to time.

local STORED_FOR = 3600
local RECORD_BYTES = 2048  -- of a record's fields and of what points at it; long values come on top

local function whole(number) return string.format('%.0f', number) end

local function stored_by(owner)
  local known = redis.call('GET', P .. 'stored:' .. owner)
  if known then return tonumber(known) end
  local total = 0
  for _, id in ipairs(redis.call('ZRANGE', P .. 'owner:' .. owner, 0, -1)) do
    total = total + (tonumber(redis.call('HGET', P .. 'job:' .. id, 'stored')) or 0)
  end
  for _, bytes in ipairs(redis.call('HVALS', P .. 'charactersby:' .. owner)) do total = total + (tonumber(bytes) or 0) end
  redis.call('SET', P .. 'stored:' .. owner, whole(total), 'EX', STORED_FOR)
  return total
end

local function add_stored(owner, bytes)
  if bytes ~= 0 and redis.call('EXISTS', P .. 'stored:' .. owner) == 1 then
    redis.call('INCRBY', P .. 'stored:' .. owner, whole(bytes))
  end
end

-- Note how many bytes a job's files have now.
local function set_stored(id, owner, bytes)
  local key = P .. 'job:' .. id
  local before = tonumber(redis.call('HGET', key, 'stored')) or 0
  if bytes == before then return end
  if bytes > 0 then redis.call('HSET', key, 'stored', whole(bytes)) else redis.call('HDEL', key, 'stored') end
  add_stored(owner, bytes - before)
end

-- How many bytes an owner keeps, if it may not keep ``more`` beside them; nothing if it may. A limit of 0 is none.
local function stored_in_the_way(owner, more, limit)
  if limit == 0 then return end
  local stored = stored_by(owner)
  if stored >= limit or stored + more > limit then return stored end
end

-- The number of an owner's characters, if it may have no more.
local function characters_in_the_way(owner, limit)
  local key = P .. 'charactersby:' .. owner
  if limit == 0 or redis.call('HLEN', key) < limit then return end
  -- Other versions remove characters without a word to this hash.
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if redis.call('EXISTS', P .. 'character:' .. name) == 0 then redis.call('HDEL', key, name) end
  end
  local count = redis.call('HLEN', key)
  if count >= limit then return count end
end

-- Count the record of a new job, and what is added to it when the job ends.
local function count_record(id, owner, bytes)
  redis.call('HSET', P .. 'job:' .. id, 'record', whole(bytes))
  redis.call('HINCRBY', P .. 'recorded:' .. owner, 'jobs', 1)
  redis.call('HINCRBY', P .. 'recorded:' .. owner, 'bytes', whole(bytes))
end

local function add_to_record(id, owner, bytes)
  if redis.call('HEXISTS', P .. 'job:' .. id, 'record') == 0 then return end
  redis.call('HINCRBY', P .. 'job:' .. id, 'record', whole(bytes))
  redis.call('HINCRBY', P .. 'recorded:' .. owner, 'bytes', whole(bytes))
end

-- No longer count a record, if it is counted: it is about to be removed.
local function uncount_record(id, owner)
  local bytes = tonumber(redis.call('HGET', P .. 'job:' .. id, 'record'))
  if not bytes then return end
  redis.call('HDEL', P .. 'job:' .. id, 'record')
  redis.call('HINCRBY', P .. 'recorded:' .. owner, 'bytes', whole(-bytes))
  if redis.call('HINCRBY', P .. 'recorded:' .. owner, 'jobs', -1) <= 0 then
    redis.call('DEL', P .. 'recorded:' .. owner)
  end
end

-- How many bytes an owner's records have. Versions that know nothing of the sum remove records too, as does a server
-- that evicts keys: each of them is taken to have had the average number of bytes.
local function recorded_by(owner)
  local key = P .. 'recorded:' .. owner
  local sums = redis.call('HMGET', key, 'jobs', 'bytes')
  local jobs, bytes = tonumber(sums[1]) or 0, tonumber(sums[2]) or 0
  local known = redis.call('ZCARD', P .. 'owner:' .. owner)
  if jobs <= known then return bytes end
  bytes = math.floor(bytes * known / jobs)
  if known == 0 then redis.call('DEL', key) else redis.call('HSET', key, 'jobs', known, 'bytes', whole(bytes)) end
  return bytes
end

-- How many bytes an owner's records have, if they may not have ``more``; nothing if they may. A limit of 0 is none.
local function records_in_the_way(owner, more, limit)
  if limit == 0 then return end
  local recorded = recorded_by(owner)
  if recorded >= limit or recorded + more > limit then return recorded end
end
