-- Remove a temporary character that can't be read, unless it has changed.
-- Arguments: username, the digest of its JSON.
local name = ARGV[1]
if redis.sha1hex(redis.call('GET', P .. 'character:' .. name) or '') ~= ARGV[2] then return end
redis.call('DEL', P .. 'character:' .. name)
redis.call('ZREM', P .. 'characters', name)
redis.call('ZREM', P .. 'characters:temporary', name)
