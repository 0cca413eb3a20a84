-- Webhook deliveries begin in the step that ends a job, and are kept apart from its record, which they may
-- outlive. ``deliveries.lua`` describes their keys.

-- The URLs to notify of a job's end, none if they can't be read, and the id by which its client knows it.
local function webhooks_of(id)
  local fields = redis.call('HMGET', P .. 'job:' .. id, 'files', 'webhooks', 'known_as')
  if fields[1] then return decode_table(fields[2]) or {}, fields[3] or id end
  -- An earlier version submitted the job, and wrote this into its JSON alone.
  local job = decode_table(redis.call('HGET', P .. 'job:' .. id, 'job')) or {}
  local labels = type(job.labels) == 'table' and job.labels or {}
  return type(job.webhooks) == 'table' and job.webhooks or {}, labels.task_id or id
end

-- The receiver that a URL leads to, nothing if it is none. The operator's own belongs to nobody. Host and port have one
-- spelling: others would be receivers of their own.
local function receiver_of(owner, url)
  local scheme, authority = string.match(string.lower(url), '^(%a+)://([^/?#]*)')
  if not scheme then return end
  authority = string.gsub(authority, '^.*@', '')
  local host, port = string.match(authority, '^(%[.*%]):?(%d*)$')
  if not host then host, port = string.match(authority, '^([^:]*):?(%d*)$') end
  host = string.gsub(host or authority, '%.+$', '')
  if redis.call('SISMEMBER', P .. 'webhook_urls', redis.sha1hex(url)) == 1 then owner = '' end
  return owner .. '@' .. host .. ':' .. (tonumber(port) or scheme == 'https' and 443 or 80)
end

local function enqueue_webhooks(id, job, outcome, stamp)
  if outcome == 'cancelled' then return end
  local urls, known_as = webhooks_of(id)
  -- The number makes it another event when the same id is used once more after its record is gone.
  local event = 'evt_' .. string.sub(redis.sha1hex(id .. ':' .. job.seq .. ':' .. NOW), 1, 32)
  for number, url in ipairs(urls) do
    local delivery, receiver = event .. ':' .. number, receiver_of(job.owner, tostring(url))
    if receiver then
      redis.call('HSET', P .. 'delivery:' .. delivery, 'event', event, 'outcome', outcome, 'job_id', known_as,
        'created_at', math.floor(NOW), 'url', url, 'receiver', receiver, 'attempt', 0,
        'schema', stamp.schema, 'written_by', stamp.written_by)
      redis.call('ZADD', P .. 'deliveries:' .. receiver, NOW, delivery)
      redis.call('ZADD', P .. 'deliveries', 'LT', NOW, receiver)
      note_time(P .. 'clock:webhooks')
    end
  end
end
