-- Tell which commands the user that asks may not use. Nothing is done.
-- KEYS: meta (any key of the namespace: it says which node is asked)
-- ARGV: JSON list of commands, each a list of its name and its arguments
-- Returns the places of those commands in the list, from 1
local lacking = {}
for place, call in ipairs(cjson.decode(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(call)) then lacking[#lacking + 1] = place end
end
return lacking
