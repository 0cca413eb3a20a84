-- Add a character.
-- Arguments: owner, the most characters that it may have, the most bytes that it may store (0: no limit), username,
-- character as JSON, '1' if it is temporary, bytes of its images.
-- Returns: {outcome, how many characters or bytes the owner has}; the outcomes are added, taken, characters, stored.
local owner, max_characters, max_stored = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local name, json, temporary, bytes = ARGV[4], ARGV[5], ARGV[6] == '1', tonumber(ARGV[7])
local known = redis.call('GET', P .. 'character:' .. name)
-- The same text again: the client library repeats a call whose reply was lost.
if known then return {known == json and 'added' or 'taken', '0'} end
local refusal = find_character_refusal(owner, max_characters, max_stored, bytes)
if refusal then return refusal end
redis.call('SET', P .. 'character:' .. name, json)
redis.call('ZADD', P .. 'characters', NOW, name)
if temporary then
  redis.call('ZADD', P .. 'characters:temporary', NOW, name)
else
  index_character(owner, name, bytes)
end
return {'added', '0'}
