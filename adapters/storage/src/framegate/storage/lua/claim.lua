-- Claim the next job for a worker that has a ticket.
-- Arguments: queue, the claimant as JSON.
-- Returns: {the job's hash, its id and its attempt, or nothing; ids of waiting jobs whose records were missing}.
local queue, claimant = ARGV[1], cjson.decode(ARGV[2])
local held = held_by(claimant)
if held then return {held, {}} end
if is_drained(claimant.names) then
  replace_tickets(queue, 1)  -- the one that led here is for another worker
  return {{}, {}}
end
return {claim_in(queue, claimant)}
