-- Claim episodes for a learner. Begins with episodes.lua.
-- KEYS: traffic, episodes, waiting, claimed, holders, dead, learners, archive, archived
-- ARGV: learner, lease (milliseconds), count, max_deliveries, alone (1: only those whose claim ended without an answer,
--       which may be what killed their learner; 0: only those that were never begun), max_dead, dead_kept (milliseconds),
--       episode_days, archive_days
-- Returns {number of episodes whose claim has ended without an answer, [seq, fence, deliveries, body], ...}
local at = {traffic = KEYS[1], episodes = KEYS[2], waiting = KEYS[3], claimed = KEYS[4], holders = KEYS[5], dead = KEYS[6],
            archive = KEYS[8], archived = KEYS[9]}
local learners, lease, alone, now = KEYS[7], tonumber(ARGV[2]), ARGV[5] == '1', now_ms()
local max_deliveries, max_dead, dead_kept = tonumber(ARGV[4]), tonumber(ARGV[6]), tonumber(ARGV[7])
local HOUR = 3600 * 1000

alive(learners, ARGV[1], lease)
if now > tonumber(redis.call('HGET', at.traffic, 'looked_at') or 0) + HOUR then
  redis.call('HSET', at.traffic, 'looked_at', now)
  let_go_of_dead(at, max_dead, dead_kept)
  let_go_of_late(at, tonumber(ARGV[8]))
  local last = last_before(at, tonumber(ARGV[9]))
  for _, seq in ipairs(redis.call('ZRANGEBYSCORE', at.archived, '-inf', last)) do let_go_of_archived(at, seq) end
end
local reply = {0}
local from = alone and at.claimed or at.waiting
for _, seq in ipairs(redis.call('ZRANGEBYSCORE', from, '-inf', now, 'LIMIT', 0, ARGV[3])) do
  local _, deliveries = holder(at, seq)
  local stored = redis.call('HGET', at.episodes, seq)
  if not stored then
    take_out(at, seq)
  elseif alone and deliveries >= max_deliveries then
    bury(at, seq, deliveries, string.format('begun %d times, and each time its learner ended or froze', deliveries),
      max_dead, dead_kept)
  else
    -- by the clock: none comes again after a drop or a loss of data, since old holders and tokens know theirs
    local fence = math.max(tonumber(redis.call('HGET', at.traffic, 'fence') or 0) + 1, now)
    redis.call('HSET', at.traffic, 'fence', fence)
    hold(at, seq, fence, deliveries + 1)
    redis.call('ZREM', at.waiting, seq)
    redis.call('ZADD', at.claimed, now + lease, seq)
    reply[#reply + 1] = {tonumber(seq), fence, deliveries + 1, string.match(stored, '^%d+|(.*)$') or ''}
  end
end
reply[1] = redis.call('ZCOUNT', at.claimed, '-inf', now)
return reply
