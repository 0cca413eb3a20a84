-- Look through jobs for those that a list has, the newest first, in steps that grow.
-- Arguments: as JSON the jobs' ``owner`` (nothing for everybody's), their ``states`` and ``texts`` one of which is in
-- their JSON (none for any), the number that is above theirs (``before``, nothing for the first part of the list), how
-- many are wanted (``limit``), how many are looked at in a step (``largest``) and in all (``most``), as how many of these
-- one counts whose JSON is read (``record``), how many bytes of that count as one more (``record_bytes``), and up to how
-- many active jobs of an owner are all looked at (``few``).
-- Returns: {the ids that were found, the number before which the search goes on, or nothing if there are no more}. Those
-- without a record are among them.
local wanted = cjson.decode(ARGV[1])
local base, states = wanted.owner and 'owner:' .. wanted.owner or 'jobs', {}
for i, state in ipairs(wanted.states) do states[i] = 'state:' .. state end

local function size_of(sets)
  local size = 0
  for _, set in ipairs(sets) do size = size + redis.call('ZCARD', KEYS[1] .. set) end
  return size
end

-- Each job that is listed is in the ``base`` and, if states are wanted, in the set of one of them. Whichever has fewer
-- jobs is looked through, as more of these are listed; ``others`` has where they have to be too.
local walked, others = {base}, states
if #states > 0 and size_of(states) < size_of({base}) then walked, others = states, {base} end

local function by_number(one, other) return one[2] > other[2] end

local function add_jobs(found, flat)
  for i = 1, #flat, 2 do found[#found + 1] = {flat[i], tonumber(flat[i + 1])} end
end

-- All jobs of the owner in these states, if only active ones are wanted and there are few: among very many that have
-- ended, and as many active ones of others, they would be found late. Every version keeps these sets.
local function few_active()
  local found, active, number = {}, {queued = 'queuedby:', running = 'running:key:'}, 0
  if not wanted.owner or #states == 0 then return end
  for _, state in ipairs(wanted.states) do
    if not active[state] then return end
    number = number + redis.call('SCARD', KEYS[1] .. active[state] .. wanted.owner)
  end
  if number > wanted.few then return end
  for _, state in ipairs(wanted.states) do
    add_jobs(found, redis.call('ZINTER', 2, KEYS[1] .. base, KEYS[1] .. active[state] .. wanted.owner,
      'WEIGHTS', 1, 0, 'WITHSCORES'))
  end
  table.sort(found, by_number)
  return found
end

local few = few_active()

-- The next jobs with their numbers, how many of them are to be looked at, and whether no more follow.
local function next_jobs(before, count)
  local found = {}
  if few then
    for _, job in ipairs(few) do
      if not before or job[2] < before then found[#found + 1] = job end
    end
    return found, #found, true
  end
  local start = before and '(' .. string.format('%.0f', before) or '+inf'
  for _, set in ipairs(walked) do
    add_jobs(found, redis.call('ZRANGE', KEYS[1] .. set, start, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, count, 'WITHSCORES'))
  end
  if #walked > 1 then table.sort(found, by_number) end
  return found, math.min(#found, count), #found < count
end

-- Which of the first ``count`` jobs are where they have to be too, by their places.
local function in_others(jobs, count)
  local found, ids = {}, {}
  for i = 1, count do ids[i] = jobs[i][1] end
  for _, set in ipairs(count > 0 and others or {}) do
    for i, score in ipairs(redis.call('ZMSCORE', KEYS[1] .. set, unpack(ids))) do found[i] = found[i] or score end
  end
  return found
end

-- Whether the JSON of a job has one of the texts, and as how many jobs that counts.
local function has_text(id)
  local json = redis.pcall('HGET', KEYS[1] .. 'job:' .. id, 'job')
  if type(json) ~= 'string' then return true, wanted.record end  -- damaged or missing: the caller sorts it out
  local searched = wanted.record + math.floor(#json / wanted.record_bytes)
  for _, text in ipairs(wanted.texts) do
    if string.find(json, text, 1, true) then return true, searched end
  end
  return false, searched
end

local function search()
  local ids, last, before, looked_at, step = {}, nil, wanted.before, 0, math.min(wanted.limit + 1, wanted.largest)
  local cost = #wanted.texts > 0 and 1 + wanted.record or 1  -- of a job, at most
  while true do
    local jobs, count, at_end = next_jobs(before, step)
    local is_in_others = in_others(jobs, count)
    for i = 1, count do
      local id, number = unpack(jobs[i])
      local is_found = #others == 0 or is_in_others[i]
      if is_found and #wanted.texts > 0 then
        if looked_at >= wanted.most then return ids, before end
        local searched
        is_found, searched = has_text(id)
        looked_at = looked_at + searched
      end
      if is_found then
        if #ids == wanted.limit then return ids, last end
        ids[#ids + 1], last = id, number
      end
      looked_at, before = looked_at + 1, number
    end
    if at_end then return ids end
    if looked_at >= wanted.most then return ids, before end
    step = math.min(4 * step, wanted.largest, math.ceil((wanted.most - looked_at) / cost))  -- few seem to be listed
  end
end

-- The same where each job is listed, as it is in most lists: nothing has to be known of single ones.
local function first_jobs()
  local start = wanted.before and '(' .. string.format('%.0f', wanted.before) or '+inf'
  local ids = redis.call('ZRANGE', KEYS[1] .. base, start, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, wanted.limit + 1)
  if #ids <= wanted.limit then return ids end
  ids[#ids] = nil
  return ids, tonumber(redis.call('ZSCORE', KEYS[1] .. base, ids[#ids]))
end

if #states == 0 and #wanted.texts == 0 then return {first_jobs()} end
return {search()}
