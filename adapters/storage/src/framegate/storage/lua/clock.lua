-- What every script begins with: the key prefix, the time in seconds by the server's clock, as the hosts' own may
-- differ, and announcements.
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) + tonumber(time[2]) / 1000000

-- By how many seconds the clock was put back since a time that a key holds; 0 if it was not.
local function put_back_since(key) return math.max((tonumber(redis.call('GET', key) or 0) or 0) - NOW, 0) end

-- Note that it is this late, unless it was later before.
local function note_time(key)
  if put_back_since(key) == 0 then redis.call('SET', key, NOW) end
end

-- Announce something. A user who has lost the right to do so gets no error: the script would end here, and what it has
-- changed so far would stay. Whoever listens reads again from time to time.
local function publish(channel, text) redis.pcall('PUBLISH', P .. channel, text) end

-- Change what is outdated within seconds in memory alone: neither the append-only file nor a replica has it, so there is
-- nothing to sync. What they have instead is from the job's claim or older, as ``swept`` is: after a restart or a
-- failover the first sweep sees a long silence, and takes nobody for dead.
local function change_in_memory(change)
  redis.set_repl(redis.REPL_NONE)
  change()
  redis.set_repl(redis.REPL_ALL)
end
