-- Characters: what the scripts that change them share. ``jobs.lua`` and ``quotas.lua`` describe their keys.

-- Why an owner may have no further character, of so many bytes; nothing if it may.
local function find_character_refusal(owner, max_characters, max_stored, bytes)
  local count = characters_in_the_way(owner, max_characters)
  if count then return {'characters', whole(count)} end
  local stored = stored_in_the_way(owner, bytes, max_stored)
  if stored then return {'stored', whole(stored)} end
end

local function index_character(owner, name, bytes)
  if redis.call('HSETNX', P .. 'charactersby:' .. owner, name, whole(bytes)) == 1 then add_stored(owner, bytes) end
end
