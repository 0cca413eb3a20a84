-- Try what the other scripts and their callers do.
-- Arguments: commands, with their subcommands as in "PUBSUB|NUMSUB" …
-- Returns: those of them that the user may not call, on the keys and channels below the prefix.
local denied = {}
-- Servers before Redis 7 can't say.
if redis.acl_check_cmd then
  for _, command in ipairs(ARGV) do
    local call = {}
    for part in string.gmatch(command, '[^|]+') do call[#call + 1] = part end
    -- Whatever a command takes for its keys or channels is one of these.
    for _ = 1, 4 do call[#call + 1] = P .. 'probe' end
    local known, allowed = pcall(redis.acl_check_cmd, unpack(call))
    if not (known and allowed) then denied[#denied + 1] = command end
  end
end
if #denied == 0 then
  redis.call('SET', P .. 'probe', NOW, 'EX', 60)
  -- Two keys of different hash slots, which Redis Cluster refuses.
  redis.call('DEL', P .. 'probe', P .. 'probe:other')
  redis.call('PUBLISH', P .. 'probe', 'started')
end
return denied
