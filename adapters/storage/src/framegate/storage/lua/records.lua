-- The records of jobs, as scripts return them that look for jobs.

-- The ``fields`` of the first ``most`` jobs; none at all if no fields are wanted.
local function records_of(ids, fields, most)
  local found = {}
  if #fields == 0 then return found end
  for i = 1, math.min(#ids, most) do
    found[i] = redis.pcall('HMGET', KEYS[1] .. 'job:' .. ids[i], unpack(fields))
  end
  return found
end
