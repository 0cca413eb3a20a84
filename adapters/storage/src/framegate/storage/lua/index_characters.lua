-- Count characters that an earlier version has added, which did not count them.
-- Arguments: username, owner, bytes of its images, and so on for each.
for i = 1, #ARGV, 3 do
  local name, owner, bytes = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  if redis.call('EXISTS', P .. 'character:' .. name) == 1 then index_character(owner, name, bytes) end
end
