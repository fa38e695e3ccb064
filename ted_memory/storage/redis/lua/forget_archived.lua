-- Take episodes out of the archive. Begins with episodes.lua.
-- KEYS: archive, archived, traffic
-- ARGV: seqs
-- Returns how many there were
local at, gone = {archive = KEYS[1], archived = KEYS[2], traffic = KEYS[3]}, 0

for _, seq in ipairs(ARGV) do
  if let_go_of_archived(at, seq) then gone = gone + 1 end
end
return gone
