-- Take up dead letters again, or forget them. Begins with episodes.lua.
-- KEYS: traffic, episodes, waiting, claimed, holders, dead
-- ARGV: how (retry, drop), seqs
-- Returns how many there were
local at = {traffic = KEYS[1], episodes = KEYS[2], waiting = KEYS[3], claimed = KEYS[4], holders = KEYS[5], dead = KEYS[6]}
local found = 0
for i = 2, #ARGV do
  if raise(at, ARGV[i]) then
    found = found + 1
    if ARGV[1] == 'retry' then
      redis.call('ZADD', at.waiting, now_ms() - TOLD_FIRST, ARGV[i]) -- a person asks for it
    else
      take_out(at, ARGV[i])
    end
  end
end
return found
