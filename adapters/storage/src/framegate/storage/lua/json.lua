-- What may be damaged is read by these: one record must never stop a script. Where a number should be there may be any
-- text, among them "nan", "1e999" and "0x10", which Lua takes for numbers, and Valkey or Python do not.

-- The number that a text stands for, or nothing. Of a thousand times that Valkey writes one has an exponent, as in
-- "1.7644701593660991e+9".
local function number_in(text)
  if type(text) ~= 'string' or #text > 32 then return end
  if string.find(text, '^%-?%d+%.?%d*$') or string.find(text, '^%-?%d+%.?%d*e[+-]?%d%d?$') then
    return tonumber(text)
  end
end

-- The whole number from 0 that a text stands for, or nothing; larger ones than there are would not stay exact.
local function integer_in(text)
  if type(text) == 'string' and #text <= 15 and string.find(text, '^%d+$') then return tonumber(text) end
end

-- The table whose JSON is ``text``, or nothing if that is damaged.
local function decode_table(text)
  local readable, value = pcall(cjson.decode, text or '')
  if readable and type(value) == 'table' then return value end
end
