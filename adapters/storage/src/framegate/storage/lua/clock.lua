-- The key prefix, and the time in seconds by the server's clock: the hosts' own may differ.
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) + tonumber(time[2]) / 1000000
