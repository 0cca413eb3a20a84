-- Look through sorted sets of jobs for those that a list may have, the newest first, in steps that grow.
-- Arguments: as JSON the names of the ``indexes``, of whose jobs those with a number below ``before`` are looked at (all,
-- if it is nothing); how many at ``first``, how many at most in a step (``largest``), and after how many there is an end
-- (``most``); how many are wanted (``limit``); in which ``states``, and with which ``texts`` in their JSON, if there are
-- any.
-- Returns: {the ids that were found, those without a record among them, the number before which the search goes on, or
-- nothing if there are no more}.
local wanted, states, ids, last = cjson.decode(ARGV[1]), {}, {}
for _, state in ipairs(wanted.states) do states[state] = true end

local function has_text(json)
  for _, text in ipairs(wanted.texts) do
    if string.find(json, text, 1, true) then return true end
  end
end

-- Which of the first ``count`` jobs are in one of the states, by their places.
local function in_states(jobs, count)
  local found, names = {}, {}
  for i = 1, count do names[i] = jobs[i][1] end
  for state in pairs(count > 0 and states or {}) do
    for i, score in ipairs(redis.call('ZMSCORE', KEYS[1] .. 'state:' .. state, unpack(names))) do
      found[i] = found[i] or score
    end
  end
  return found
end

local function matches(id)
  if #wanted.texts == 0 then return true end
  local json = redis.call('HGET', KEYS[1] .. 'job:' .. id, 'job')
  return not json or has_text(json)
end

-- The next jobs of all indexes with their numbers, and whether no more follow.
local function next_jobs(before, count)
  local found, start = {}, before and '(' .. string.format('%.0f', before) or '+inf'
  for _, index in ipairs(wanted.indexes) do
    local part = redis.call('ZRANGE', KEYS[1] .. index, start, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, count, 'WITHSCORES')
    for i = 1, #part, 2 do found[#found + 1] = {part[i], tonumber(part[i + 1])} end
  end
  if #wanted.indexes > 1 then table.sort(found, function(one, other) return one[2] > other[2] end) end
  return found, #found < count
end

local before = type(wanted.before) == 'number' and wanted.before or nil
local step, looked_at = wanted.first, 0
while true do
  local jobs, at_end = next_jobs(before, step)
  local count = math.min(#jobs, step)
  local is_in_state = in_states(jobs, count)
  for i = 1, count do
    local id, number = jobs[i][1], jobs[i][2]
    if (#wanted.states == 0 or is_in_state[i]) and matches(id) then
      if #ids == wanted.limit then return {ids, last} end
      ids[#ids + 1], last = id, number
    end
    looked_at, before = looked_at + 1, number
  end
  if at_end then return {ids} end
  step = math.min(4 * step, wanted.largest)  -- few of them seem to match
  if looked_at >= wanted.most then return {ids, before} end
end
