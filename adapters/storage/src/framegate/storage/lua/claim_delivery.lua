-- Claim a webhook delivery: the owners are served in turn, and so are the receivers of each.
-- Arguments: as JSON, ``lease`` in seconds; ``schema``, the latest that the caller can read; ``longest``, the seconds
-- between two attempts at most; ``give_up_after`` seconds; ``pause_after``, the failures in a row of a receiver that is
-- paused; ``operator``, its own URLs; and who has no slot left: ``owners`` by each standing that has slots,
-- ``receivers`` and ``hosts``.
-- Returns: {delivery or nothing, deliveries that are given up without another attempt, 1 if there is more to look at}.
-- A delivery is its hash with what is known at the time of the claim.
local call = cjson.decode(ARGV[1])
local LINED_UP, LOOKED_AT, OWNERS = 200, 500, 1000
local given_up, looked_at, passed_over = {}, 0, 0

local function set_of(members)
  local set = {}
  for _, member in ipairs(members) do set[member] = true end
  return set
end
local busy_receivers, busy_hosts = set_of(call.receivers), set_of(call.hosts)

local function described(id, receiver, health)
  local fields = redis.call('HGETALL', P .. 'delivery:' .. id)
  local known = {'id', id, 'receiver', receiver, 'standing', health.standing, 'failures', health.failures, 'claimed_at',
    string.format('%.6f', NOW)}
  for _, text in ipairs(known) do table.insert(fields, tostring(text)) end
  return fields
end

local function claim(id, receiver, health, attempt)
  redis.call('ZADD', P .. 'deliveries:' .. receiver, NOW + call.lease, id)
  redis.call('HSET', P .. 'delivery:' .. id, 'attempt', attempt)
  note_time(P .. 'clock:webhooks')
  -- Until it has shown that it answers, a receiver has one attempt at a time.
  if health.standing ~= 'proven' then set_health(receiver, 'not_before', NOW + call.lease) end
  line_up(receiver, call.longest, true)
  return described(id, receiver, health)
end

-- The next delivery to a receiver that is first in its line. Lines may be out of date; they are then put right.
local function next_to(receiver, standing)
  local waiting, health, passed = P .. 'deliveries:' .. receiver, health_of(receiver), 0
  local may_send = health.standing == standing and health.not_before <= NOW
  while may_send and looked_at < LOOKED_AT do
    local id = redis.call('ZRANGEBYSCORE', waiting, '-inf', NOW, 'LIMIT', passed, 1)[1]
    if not id then break end
    looked_at = looked_at + 1
    -- Whatever has become of a delivery, it must not stop the others.
    local known = redis.pcall('HMGET', P .. 'delivery:' .. id, 'url', 'schema', 'created_at', 'attempt')
    local given_up_at = (integer_in(known[3]) or 0) + call.give_up_after
    if not known[1] then
      remove_delivery(receiver, id)
    elseif (integer_in(known[2]) or 1) > call.schema then
      passed = passed + 1
    elseif health.failures >= call.pause_after and given_up_at < NOW then
      table.insert(given_up, described(id, receiver, health))
      remove_delivery(receiver, id)
    else
      return claim(id, receiver, health, (integer_in(known[4]) or 0) + 1)
    end
  end
  line_up(receiver, call.longest, passed > 0)
  passed_over = passed_over + passed
end

local function next_of(owner, standing)
  local limit, seen, is_new = #call.receivers + #call.hosts + 10, {}
  repeat
    local due = redis.call('ZRANGEBYSCORE', line_of(standing, owner), '-inf', NOW, 'LIMIT', 0, limit)
    is_new = false
    for _, receiver in ipairs(due) do
      local _, host = owner_and_host(receiver)
      if looked_at >= LOOKED_AT then return end
      if not seen[receiver] and not busy_receivers[receiver] and not busy_hosts[host] then
        seen[receiver], is_new, looked_at = true, true, looked_at + 1
        local found = next_to(receiver, standing)
        if found then return found end
      end
    end
    if not due[1] then line_up_owner(standing, owner) end
  until not is_new
end

local function next_with(standing, busy_owners)
  local owners, limit, blocked = P .. 'webhook_owners:' .. standing, #busy_owners + OWNERS, {}
  local busy, due = set_of(busy_owners), redis.call('ZRANGEBYSCORE', owners, '-inf', NOW, 'LIMIT', 0, limit)
  for _, owner in ipairs(due) do
    if looked_at >= LOOKED_AT then return end
    if not busy[owner] then
      local found = next_of(owner, standing)
      if found then return found end
      blocked[#blocked + 1] = owner
    end
  end
  if #due < limit then return end
  -- All of these wait for busy hosts: let others come first next time.
  for _, owner in ipairs(blocked) do redis.call('ZADD', owners, 'XX', NOW, owner) end
end

for _, url in ipairs(call.operator) do redis.call('SADD', P .. 'webhook_urls', redis.sha1hex(url)) end
local inbox = redis.call('ZRANGEBYSCORE', P .. 'deliveries', '-inf', NOW, 'LIMIT', 0, LINED_UP)
for _, receiver in ipairs(inbox) do line_up(receiver, call.longest) end
-- These have waited since before the clock went back. By how much it did isn't known, so all is due at once then.
local went_back = put_back_since(P .. 'clock:webhooks') > BACKSTOP
local longest = went_back and 0 or call.longest
local ahead = '(' .. NOW + longest + BACKSTOP
local too_late = redis.call('ZRANGEBYSCORE', P .. 'deliveries', ahead, '+inf', 'LIMIT', 0, LINED_UP)
for _, receiver in ipairs(too_late) do line_up(receiver, longest) end
if went_back and #too_late < LINED_UP then redis.call('SET', P .. 'clock:webhooks', NOW) end

local found
for _, standing in ipairs(STANDINGS) do
  if call.owners[standing] and not found then found = next_with(standing, call.owners[standing]) end
end
-- What is left to later versions stays where it is, so there would be no end to looking at it.
local more = #inbox == LINED_UP or #too_late == LINED_UP or (looked_at >= LOOKED_AT and passed_over == 0)
return {found or {}, given_up, more and 1 or 0}
