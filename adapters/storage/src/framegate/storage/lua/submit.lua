-- Submit a job.
-- Arguments: JobSubmission as JSON, the job's own JSON, its schema, the version that writes it, and then names and values
-- of further fields of its record.
-- Returns: as ``check_admission.lua`` does; {'new', id, its number, the time of its submission} for a new one.
local new, json, schema, written_by = cjson.decode(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local id, owner, key = new.id, new.owner, P .. 'job:' .. new.id
-- The same text again: the client library repeats a call whose reply was lost.
if redis.call('HGET', key, 'job') == json then
  return {'new', id, unpack(redis.call('HMGET', key, 'seq', 'submitted_at'))}
end
new.record_bytes = RECORD_BYTES + #json
for i = 5, #ARGV do new.record_bytes = new.record_bytes + #ARGV[i] end
local refusal = find_refusal(new)
if refusal then return refusal end
local seq = redis.call('INCR', P .. 'seq')
redis.call('HSET', key, 'job', json, 'schema', schema, 'written_by', written_by, 'state', 'queued',
  'owner', owner, 'queue', new.queue, 'lane', new.lane, 'seq', seq, 'collection', new.collection,
  'result_name', new.result_name, 'share_id', new.share_id, 'attempt', 0, 'worker', '', 'progress', 0,
  'message', '', 'submitted_at', NOW, unpack(ARGV, 5))
redis.call('ZADD', P .. 'jobs', seq, id)
redis.call('ZADD', P .. 'owner:' .. owner, seq, id)
redis.call('ZADD', P .. 'state:queued', seq, id)
if new.collection ~= '' then
  redis.call('ZADD', P .. 'collection:' .. owner .. ':' .. new.collection, seq, id)
end
if new.result_name ~= '' then redis.call('SET', P .. 'result:' .. owner .. ':' .. new.result_name, id) end
if new.share_id ~= '' then redis.call('SET', P .. 'share:' .. new.share_id, id) end
set_stored(id, owner, new.input_bytes or 0)
count_record(id, owner, new.record_bytes)
count_usage(owner, 'jobs', 1)
count_usage(owner, 'input_bytes', new.input_bytes or 0)
remember_job(new, id)
wait_in_queue(id, load(id))
return {'new', id, unpack(redis.call('HMGET', key, 'seq', 'submitted_at'))}
