-- Drop what points at jobs that have no record.
-- Arguments: their owner and collection ('' if they are not known), id …
for i = 3, #ARGV do
  if redis.call('EXISTS', P .. 'job:' .. ARGV[i]) == 0 then drop_missing(ARGV[i], ARGV[1], ARGV[2]) end
end
