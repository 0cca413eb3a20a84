-- Lease temporary characters that have been kept long enough.
-- Arguments: for how many seconds they are kept, how many at most, lease in seconds.
-- Returns: {username, character as JSON, the digest of that, username, …}.
local kept_for, most, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found = {}
for _, name in ipairs(lease_expired(P .. 'characters:temporary', kept_for, most, lease)) do
  local text = redis.call('GET', P .. 'character:' .. name)
  if text then
    for _, part in ipairs({name, text, redis.sha1hex(text)}) do table.insert(found, part) end
  else
    redis.call('ZREM', P .. 'characters', name)
    redis.call('ZREM', P .. 'characters:temporary', name)
  end
end
return found
