-- Return the jobs of a collection that follow one of them, or the first ones.
-- Arguments: the owner, the collection, the id of the job that they follow ('' for none), how many at most, 'REV' for the
-- newest first or '' for the oldest.
-- Returns: the ids, one more than wanted if more follow, or nothing if that job was not in the collection within the last
-- day.
local owner, collection, after, limit, order = unpack(ARGV)
local place = owner .. ':' .. collection
local index, first, last = KEYS[1] .. 'collection:' .. place, '-inf', '+inf'
if order == 'REV' then first, last = last, first end
if after ~= '' then
  local number = redis.call('ZSCORE', index, after)
    or redis.call('GET', KEYS[1] .. 'removed:' .. place .. ':' .. after)
  if not number then return false end
  first = '(' .. number
end
local range = {index, first, last, 'BYSCORE'}
if order ~= '' then range[#range + 1] = order end
for _, part in ipairs({'LIMIT', 0, limit + 1}) do range[#range + 1] = part end
return redis.call('ZRANGE', unpack(range))
