-- Drain workers, or let them take jobs again.
-- Arguments: their name (``operations.lua`` says which there are), '1' to drain them.
if ARGV[2] == '1' then
  redis.call('HSETNX', P .. 'drained', ARGV[1], NOW)
else
  redis.call('HDEL', P .. 'drained', ARGV[1])
end
