-- The table whose JSON is ``text``, or nothing if that is damaged: one record must never stop a script.
local function decode_table(text)
  local readable, value = pcall(cjson.decode, text or '')
  if readable and type(value) == 'table' then return value end
end
