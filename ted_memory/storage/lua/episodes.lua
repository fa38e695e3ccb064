-- Shared by the scripts on episodes, which begin with it. `at` names the keys of one namespace's traffic.
-- An episode is "<bytes>|<JSON>" in `episodes`, with images "<bytes>;<their hashes>|<JSON>". It is in one of `waiting` (score: when it may be begun) and `claimed`
-- (score: when its claim ends), both in milliseconds, or in `dead`. `holders` has "<fence>|<deliveries>".

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Milliseconds by which an episode that somebody spoke about goes before those that nobody did.
local TOLD_FIRST = 30 * 24 * 3600 * 1000

local function holder(at, seq)
  local fence, deliveries = string.match(redis.call('HGET', at.holders, seq) or '', '^(%d+)|(%d+)$')
  return tonumber(fence or 0), tonumber(deliveries or 0)
end

local function hold(at, seq, fence, deliveries)
  redis.call('HSET', at.holders, seq, string.format('%d|%d', fence, deliveries))
end

-- Count a learner for another lease; the key lasts as long as the one that is heard of last.
local function alive(learners, learner, lease)
  local now = now_ms()
  redis.call('ZADD', learners, now + lease, learner)
  redis.call('ZREMRANGEBYSCORE', learners, '-inf', now)
  local last = redis.call('ZRANGE', learners, -1, -1, 'WITHSCORES')[2]
  if last then redis.call('PEXPIRE', learners, last - now) end
end

-- Images go with the last episode that holds them. Their keys begin as that of the traffic does.
local function let_go_of_images(at, hashes)
  for hash in string.gmatch(hashes, '%S+') do
    local image = string.sub(at.traffic, 1, -#'traffic' - 1) .. 'image:' .. hash
    if redis.call('HINCRBY', image, 'episodes', -1) <= 0 then redis.call('HDEL', image, 'episodes', 'data') end
  end
end

-- Forget an episode altogether.
local function take_out(at, seq)
  local bytes, hashes = string.match(redis.call('HGET', at.episodes, seq) or '', '^(%d+);?([^|{]*)|')
  if bytes then
    redis.call('HINCRBY', at.traffic, 'bytes', -tonumber(bytes))
    let_go_of_images(at, hashes)
  end
  redis.call('HDEL', at.episodes, seq)
  redis.call('HDEL', at.holders, seq)
  redis.call('ZREM', at.waiting, seq)
  redis.call('ZREM', at.claimed, seq)
end

-- Make a dead letter of an episode; it keeps its body.
local function bury(at, seq, deliveries, reason)
  redis.call('HSET', at.dead, seq, cjson.encode({deliveries = deliveries, reason = reason, at = now_ms()}))
  redis.call('HDEL', at.holders, seq)
  redis.call('ZREM', at.waiting, seq)
  redis.call('ZREM', at.claimed, seq)
  redis.call('HINCRBY', at.traffic, 'dead', 1)
  redis.call('HSET', at.traffic, 'last_error', reason)
end
