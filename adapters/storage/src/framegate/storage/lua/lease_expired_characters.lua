-- Lease temporary characters that have been kept long enough.
-- Arguments: for how many seconds they are kept, how many at most, lease in seconds.
-- Returns: their usernames.
local kept_for, most, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
return lease_expired(P .. 'characters:temporary', kept_for, most, lease)
