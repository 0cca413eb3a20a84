-- Which of some jobs a list has, as far as their records tell without being decoded.
-- Arguments: {states, texts} as JSON, ids of jobs.
-- Returns: the ids of those that are in one of the states, if there are any, and that have one of the texts in their JSON,
-- if there are any; and of those that have no record.
local wanted, states, found = cjson.decode(ARGV[1]), {}, {}
for _, state in ipairs(wanted.states) do states[state] = true end
local function has_text(json)
  for _, text in ipairs(wanted.texts) do
    if string.find(json, text, 1, true) then return true end
  end
  return #wanted.texts == 0
end
for i = 2, #ARGV do
  local key = KEYS[1] .. 'job:' .. ARGV[i]
  local state = redis.call('HGET', key, 'state')
  local matches = not state or #wanted.states == 0 or states[state]
  if matches and state and #wanted.texts > 0 then matches = has_text(redis.call('HGET', key, 'job') or '') end
  if matches then found[#found + 1] = ARGV[i] end
end
return found
