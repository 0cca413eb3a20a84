-- Remove a character, unless another one has its username by now.
-- Arguments: username, owner, id.
local name, owner = ARGV[1], ARGV[2]
local now = decode_table(redis.call('GET', P .. 'character:' .. name))
if now and now.id ~= ARGV[3] then return end
redis.call('DEL', P .. 'character:' .. name)
redis.call('ZREM', P .. 'characters', name)
redis.call('ZREM', P .. 'characters:temporary', name)
local bytes = tonumber(redis.call('HGET', P .. 'charactersby:' .. owner, name)) or 0
redis.call('HDEL', P .. 'charactersby:' .. owner, name)
add_stored(owner, -bytes)
