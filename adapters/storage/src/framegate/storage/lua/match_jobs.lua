-- Which of some jobs are in some states.
-- Arguments: {states} as JSON, ids of jobs.
-- Returns: the ids of those that are.
local found, ids = {}, {unpack(ARGV, 2)}
local is_in_state = {}
for _, state in ipairs(cjson.decode(ARGV[1]).states) do
  for i, score in ipairs(redis.call('ZMSCORE', KEYS[1] .. 'state:' .. state, unpack(ids))) do
    is_in_state[i] = is_in_state[i] or score
  end
end
for i, id in ipairs(ids) do
  if is_in_state[i] then found[#found + 1] = id end
end
return found
