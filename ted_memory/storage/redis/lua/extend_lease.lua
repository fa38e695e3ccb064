-- Hold claims for another lease. Begins with episodes.lua.
-- KEYS: claimed, holders, learners
-- ARGV: learner, lease (milliseconds), then seq and fence of each claim
-- Returns the seqs of those that are another learner's, or wait for one. What is gone was settled by its holder
local at, lost, now = {claimed = KEYS[1], holders = KEYS[2]}, {}, now_ms()
alive(KEYS[3], ARGV[1], ARGV[2])
for i = 3, #ARGV, 2 do
  if holder(at, ARGV[i]) == tonumber(ARGV[i + 1]) then
    redis.call('ZADD', at.claimed, 'XX', now + ARGV[2], ARGV[i])
  elseif redis.call('HEXISTS', at.holders, ARGV[i]) == 1 then
    lost[#lost + 1] = tonumber(ARGV[i])
  end
end
return lost
