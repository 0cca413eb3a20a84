-- What has been kept long enough: sorted sets by the time from which that counts.
--
-- An entry that is due is leased: its time moves, so that it is due again after the lease unless it has been dealt
-- with. So any number of hosts share the work, and what one can't deal with is not in the way of the others.

local function seconds(number) return string.format('%.6f', number) end

-- Lease at most ``most`` members of a sorted set that have been kept for ``kept_for`` seconds; returns them, those
-- first that are due longest.
local function lease_expired(index, kept_for, most, lease)
  -- The clock went back: nobody has counted from, or leased until, so late a time by the clock as it is.
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', index, '(' .. seconds(NOW + lease), '+inf', 'LIMIT', 0, most)) do
    redis.call('ZADD', index, seconds(NOW), member)
  end
  local due = redis.call('ZRANGEBYSCORE', index, '-inf', seconds(NOW - kept_for), 'LIMIT', 0, most)
  for _, member in ipairs(due) do
    redis.call('ZADD', index, seconds(math.min(NOW - kept_for, NOW) + lease), member)
  end
  return due
end
