-- The key prefix and the server's time in seconds: hosts need not agree on theirs.
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) + tonumber(time[2]) / 1000000
