-- Remove a character.
-- Arguments: username, owner.
local name, owner = ARGV[1], ARGV[2]
redis.call('DEL', P .. 'character:' .. name)
redis.call('ZREM', P .. 'characters', name)
redis.call('ZREM', P .. 'characters:temporary', name)
local bytes = tonumber(redis.call('HGET', P .. 'charactersby:' .. owner, name)) or 0
redis.call('HDEL', P .. 'charactersby:' .. owner, name)
add_stored(owner, -bytes)
