-- Which of some jobs are in some states.
-- Arguments: {states} as JSON, ids of jobs.
-- Returns: the ids of those that are, and of those that have no record.
local states, found = {}, {}
for _, state in ipairs(cjson.decode(ARGV[1]).states) do states[state] = true end
for i = 2, #ARGV do
  local state = redis.call('HGET', KEYS[1] .. 'job:' .. ARGV[i], 'state')
  if not state or states[state] then found[#found + 1] = ARGV[i] end
end
return found
