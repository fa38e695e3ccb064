-- Forget episodes, whoever holds them: who comes to settle one finds that he is too late. Begins with episodes.lua.
-- KEYS: traffic, episodes, waiting, claimed, holders, dead
-- ARGV: seqs
local at = {traffic = KEYS[1], episodes = KEYS[2], waiting = KEYS[3], claimed = KEYS[4], holders = KEYS[5], dead = KEYS[6]}
for _, seq in ipairs(ARGV) do
  take_out(at, seq)
end
redis.call('HDEL', at.traffic, 'last_error') -- an error may hold what somebody wrote
