-- Add a character.
-- Arguments: username, character as JSON, time of creation, '1' if it is temporary.
-- Returns: 1, or 0 if the username is taken.
local P, name = KEYS[1], ARGV[1]
local known = redis.call('GET', P .. 'character:' .. name)
-- The same text again: the client library repeats a call whose reply was lost.
if known then return known == ARGV[2] and 1 or 0 end
redis.call('SET', P .. 'character:' .. name, ARGV[2])
redis.call('ZADD', P .. 'characters', ARGV[3], name)
if ARGV[4] == '1' then redis.call('ZADD', P .. 'characters:temporary', ARGV[3], name) end
return 1
