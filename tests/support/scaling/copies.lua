-- Copy what the scripts have written for a job, to make many like it.
-- Jobs without an owner have copies without one.
-- Arguments: template as JSON, number of the first copy, number of the last one, number of its owners, seconds since
-- the epoch at which the first copy ended, seconds between the ends of two.
-- Returns: nothing.
local template = cjson.decode(ARGV[1])
local first, last, owners = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ended, step = tonumber(ARGV[5]), tonumber(ARGV[6])

for number = first, last do
  local names = {
    [template.id] = string.format('record%09d', number),
    [template.owner] = string.format('owner%06d', number % owners),
    [template.share] = string.format('s_%032d', number),
  }
  local numbers = {seq = string.format('%.0f', number), ended = string.format('%.6f', ended + step * (number - first))}
  local function own(text)
    if type(text) == 'table' then return numbers[text[1]] end
    for name, new in pairs(names) do
      if name ~= '' and string.find(text, name, 1, true) then text = string.gsub(text, name, new) end
    end
    return text
  end
  for _, command in ipairs(template.commands) do
    local arguments = {}
    for i, argument in ipairs(command) do arguments[i] = own(argument) end
    redis.call(unpack(arguments))
  end
end
