-- End an attempt at a webhook delivery, and note how its receiver did.
-- Arguments: as JSON, ``id``, ``attempt`` and ``receiver`` of the delivery; ``delay``, the seconds until the next
-- attempt, absent if there is to be none; ``outcome``: 'accepted', 'answered' (something else), 'failed' (it is away) or
-- 'unknown'; ``pause``, the seconds for which a receiver that has failed ``pause_after`` times in a row is left alone;
-- ``give_up_after`` seconds.
-- Returns: {1 if the delivery was given up, failures in a row before this attempt, and after it}.
local call = cjson.decode(ARGV[1])
local id, receiver = call.id, call.receiver
local health, failures, not_before, given_up = health_of(receiver), 0, 0, 0
if call.outcome == 'unknown' then failures = health.failures end
if call.outcome == 'failed' then
  failures = health.failures + 1
  if failures >= call.pause_after then not_before = NOW + call.pause end
end
set_health(receiver, 'failures', failures, 'not_before', not_before)
if call.outcome == 'accepted' then set_health(receiver, 'proven', 1) end
local known = redis.call('HMGET', P .. 'delivery:' .. id, 'attempt', 'created_at')
if not call.delay then
  remove_delivery(receiver, id)
elseif tonumber(known[1]) == call.attempt then  -- else the lease of this attempt ran out, and another one decides
  if NOW + call.delay > (integer_in(known[2]) or 0) + call.give_up_after then
    given_up = 1
    remove_delivery(receiver, id)
  else
    redis.call('ZADD', P .. 'deliveries:' .. receiver, NOW + call.delay, id)
    note_time(P .. 'clock:webhooks')
  end
end
line_up(receiver, math.huge)
return {given_up, health.failures, failures}
