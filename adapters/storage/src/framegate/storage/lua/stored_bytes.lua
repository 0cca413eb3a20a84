-- Sum up the files of all jobs.
-- Returns: their bytes, or nothing while they are still being counted; each call counts a part.
local bytes = stored_in(ALL_JOBS)
return bytes and whole(bytes)
