-- Note that a worker's requested load is over: it was done, has failed, or was left.
-- Arguments: worker.
end_load(ARGV[1])
