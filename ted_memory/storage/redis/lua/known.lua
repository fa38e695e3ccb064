-- Read what is known of lessons, as far as it has changed. Writes nothing. Begins with episodes.lua and evidence.lua.
-- KEYS: evidence
-- ARGV: id and change of each lesson (the number of the change that the caller knows; 0 for none)
-- Returns JSON: for each of them [change] where that is the one that the caller knows or 0 where nothing is known, else
--         [change, done, done to, from, total, voice, ...]; numbers are strings. One string, as in read.lua
local evidence = KEYS[1]

local reply = {}
for i = 1, #ARGV, 2 do
  local id, held = ARGV[i], ARGV[i + 1]
  local change = redis.call('HGET', evidence, id .. ' #') or '0'
  local found = {change}
  if change ~= '0' and change ~= held then
    local lists = {id .. ' done', id .. ' done to', id .. ' from'}
    local stored = redis.call('HMGET', evidence, lists[1], lists[2], lists[3], unpack(fields_of(id)))
    for place = 1, 4 do found[place + 1] = stored[place] or '' end
    for place = 5, VOICES + 4 do
      if stored[place] then found[#found + 1] = stored[place] end
    end
  end
  reply[#reply + 1] = found
end
return cjson.encode(reply)
