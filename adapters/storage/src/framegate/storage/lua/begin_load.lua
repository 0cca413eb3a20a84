-- Note that a worker begins a requested load, unless another one may have died while it did that: whoever comes next
-- would die in the same way.
-- Arguments: worker, what people call it, id of the model, number of the request, lease in seconds, seconds without a
-- question after which doubts begin anew, what is said on the workers' channels.
-- Returns: 'begin', 'wait' (ask again in a second), or 'drop' (that is no longer requested).
local worker, by, model, number, text = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[7]
local request = decode_table(redis.call('HGET', P .. 'model_requests', model))
if not request or not request.load or tonumber(request.number) ~= number then return 'drop' end
local loads, verdict = redis.call('HGETALL', P .. 'begun_loads'), 'begin'
for i = 1, #loads, 2 do
  local load = decode_table(loads[i + 1])
  if loads[i] ~= worker and (not load or load.model == model) then
    local state = state_of(loads[i], tonumber(ARGV[5]), tonumber(ARGV[6]))
    if state == 'lost' then
      end_load(loads[i])
      if load then
        request_model(model, {load = false, problem = 'A worker on ' .. tostring(load.by)
          .. ' ended while it loaded the model, so no worker loads it before a job needs it.'}, text)
        return 'drop'
      end
    elseif state == 'doubtful' then
      verdict = 'wait'
    end
  end
end
if verdict == 'begin' then
  redis.call('HSET', P .. 'begun_loads', worker, cjson.encode({model = model, by = by}))
  redis.call('ZADD', P .. 'begun_loads:beats', NOW, worker)
end
return verdict
