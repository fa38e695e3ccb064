-- Let go of a claim without a result. Begins with episodes.lua.
-- KEYS: traffic, episodes, waiting, claimed, holders, dead, run
-- ARGV: seq, fence, how (release: it was not its fault, and does not count; fail: it counts), reason,
--       delay (milliseconds until it may be begun again; none for what somebody spoke about), max_deliveries,
--       max_dead, dead_kept (milliseconds)
-- Returns released, failed, dead, or fenced: another learner holds it, and nothing was written
local at = {traffic = KEYS[1], episodes = KEYS[2], waiting = KEYS[3], claimed = KEYS[4], holders = KEYS[5], dead = KEYS[6]}
local seq, how, reason, due = ARGV[1], ARGV[3], ARGV[4], now_ms() + tonumber(ARGV[5])
local fence, deliveries = holder(at, seq)
if fence ~= tonumber(ARGV[2]) then return 'fenced' end

if reason ~= '' then redis.call('HSET', at.traffic, 'last_error', reason) end
if how == 'fail' and deliveries >= tonumber(ARGV[6]) then
  bury(at, seq, deliveries, reason, tonumber(ARGV[7]), tonumber(ARGV[8]))
  return 'dead'
end
if how == 'release' then deliveries = deliveries - 1 end
redis.call('ZREM', at.claimed, seq)
if deliveries == 0 then
  redis.call('HDEL', at.holders, seq)
  -- also where the word came while it was held: it does not go behind what nobody spoke about
  if redis.call('HEXISTS', KEYS[7], 'told') == 1 then due = now_ms() - TOLD_FIRST end
  redis.call('ZADD', at.waiting, due, seq)
else
  hold(at, seq, 0, deliveries)
  redis.call('ZADD', at.claimed, due, seq)
end
if how == 'fail' then
  redis.call('HINCRBY', at.traffic, 'retried', 1)
  return 'failed'
end
return 'released'
