-- What owners keep: the bytes of their jobs' files and of their characters' images, and of their jobs' records.
--
-- Keys, below the same prefix as those of ``jobs.lua``:
--
-- job:ID ``stored``   the bytes of a job's inputs and results, as long as they have not been removed
-- charactersby:OWNER  hash of an owner's characters, but for temporary ones, with the bytes of their images
-- stored:OWNER        the sum of these, for at most a day
-- recount:OWNER       hash: the sum as it is being made again: the ``bytes`` of the jobs ``upto`` a place in the order
--                     of submission
-- stored, recount     the same of all owners' jobs, without characters
-- job:ID ``record``   the bytes of a job's record, until it is deleted
-- recorded:OWNER      hash: the sum of these (``bytes``), and the number of the jobs in it (``jobs``)
--
-- The first sum is made when a limit asks for it, and kept up by whatever changes its parts. Versions that know nothing
-- of it change them too, while hosts are updated; therefore it is made again every hour, from a few jobs at each time
-- that a limit asks for it, as an owner may have many.

local STORED_FOR, RECOUNT_AFTER, RECOUNTED = 86400, 3600, 200
local RECORD_BYTES = 2048  -- of a record's fields and of what points at it; long values come on top

local function whole(number) return string.format('%.0f', number) end

-- Where the sum of what is stored stands, how far it is made again, and what is in it: that of an owner, and that of all
-- jobs, without characters.
local function scope_of(owner)
  return {sum = P .. 'stored:' .. owner, recount = P .. 'recount:' .. owner, jobs = P .. 'owner:' .. owner,
    characters = P .. 'charactersby:' .. owner}
end
local ALL_JOBS = {sum = P .. 'stored', recount = P .. 'recount', jobs = P .. 'jobs'}

-- Add the next jobs to a sum; returns that when it is complete.
local function recount(scope)
  local upto, bytes = unpack(redis.call('HMGET', scope.recount, 'upto', 'bytes'))
  upto, bytes = upto or '-1', tonumber(bytes or 0)
  local jobs = redis.call('ZRANGE', scope.jobs, '(' .. upto, '+inf', 'BYSCORE', 'LIMIT', 0, RECOUNTED, 'WITHSCORES')
  for i = 1, #jobs, 2 do
    bytes, upto = bytes + (integer_in(redis.call('HGET', P .. 'job:' .. jobs[i], 'stored')) or 0), jobs[i + 1]
  end
  if #jobs == 2 * RECOUNTED then
    redis.call('HSET', scope.recount, 'upto', upto, 'bytes', whole(bytes))
    redis.call('EXPIRE', scope.recount, RECOUNT_AFTER)
    return
  end
  for _, each in ipairs(scope.characters and redis.call('HVALS', scope.characters) or {}) do
    bytes = bytes + (integer_in(each) or 0)
  end
  redis.call('DEL', scope.recount)
  redis.call('SET', scope.sum, whole(bytes), 'EX', STORED_FOR)
  return bytes
end

-- A sum, if it is known; each call makes it again for a part while it is old or unknown.
local function stored_in(scope)
  local known = redis.call('GET', scope.sum)
  if known and redis.call('TTL', scope.sum) > STORED_FOR - RECOUNT_AFTER then return tonumber(known) end
  return recount(scope) or tonumber(known)
end

local function stored_by(owner)
  local sum
  repeat sum = stored_in(scope_of(owner)) until sum
  return sum
end

local function add_to_sum(scope, bytes)
  if bytes ~= 0 and redis.call('EXISTS', scope.sum) == 1 then redis.call('INCRBY', scope.sum, whole(bytes)) end
end

local function add_stored(owner, bytes) add_to_sum(scope_of(owner), bytes) end

-- Note how many bytes a job's files have now.
local function set_stored(id, owner, bytes)
  local key = P .. 'job:' .. id
  local before = integer_in(redis.call('HGET', key, 'stored')) or 0
  if bytes == before then return end
  if bytes > 0 then redis.call('HSET', key, 'stored', whole(bytes)) else redis.call('HDEL', key, 'stored') end
  local seq = integer_in(redis.call('HGET', key, 'seq')) or 0
  for _, scope in ipairs({scope_of(owner), ALL_JOBS}) do
    add_to_sum(scope, bytes - before)
    local upto = redis.call('HGET', scope.recount, 'upto')
    if upto and seq <= tonumber(upto) then redis.call('HINCRBY', scope.recount, 'bytes', whole(bytes - before)) end
  end
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
  local before = integer_in(redis.call('HGET', P .. 'job:' .. id, 'record'))
  if not before then return end
  redis.call('HSET', P .. 'job:' .. id, 'record', whole(before + bytes))
  redis.call('HINCRBY', P .. 'recorded:' .. owner, 'bytes', whole(bytes))
end

-- No longer count a record, if it is counted: it is about to be removed.
local function uncount_record(id, owner)
  local bytes = integer_in(redis.call('HGET', P .. 'job:' .. id, 'record'))
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
