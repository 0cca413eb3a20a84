-- What every script begins with: the key prefix, the time in seconds by the server's clock, as the hosts' own may
-- differ, and announcements.
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) + tonumber(time[2]) / 1000000

-- Announce something. A user who has lost the right to do so gets no error: the script would end here, and what it has
-- changed so far would stay. Whoever listens reads again from time to time.
local function publish(channel, text) redis.pcall('PUBLISH', P .. channel, text) end
