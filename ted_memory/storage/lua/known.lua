-- Read what is known of lessons, as far as it has changed. Writes nothing. Begins with episodes.lua and evidence.lua.
-- KEYS: evidence
-- ARGV: id and change of each lesson (the number of the change that the caller knows; 0 for none)
-- Returns JSON: for each of them [change] where that is the one that the caller knows or 0 where nothing is known, else
--         [change, done, total, voice, ...]; numbers are strings. One string, as in read.lua
local evidence = KEYS[1]

local reply = {}
for i = 1, #ARGV, 2 do
  local id, held = ARGV[i], ARGV[i + 1]
  local change = redis.call('HGET', evidence, id .. ' #') or '0'
  local found = {change}
  if change ~= '0' and change ~= held then
    local fields = {id .. ' done', id}
    for voice = 0, VOICES - 1 do fields[#fields + 1] = id .. ' ' .. voice end
    local stored = redis.call('HMGET', evidence, unpack(fields))
    found[2], found[3] = stored[1] or '', stored[2] or ''
    for place = 3, #fields do
      if stored[place] then found[#found + 1] = stored[place] end
    end
  end
  reply[#reply + 1] = found
end
return cjson.encode(reply)
