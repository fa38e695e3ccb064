-- Shared by the scripts on episodes, which begin with it. `at` names the keys of one namespace's traffic.
-- An episode is "<bytes>|<JSON>" in `episodes`; `traffic` names its images as "images <seq>". It is in one of `waiting`
-- (score: when it may be begun) and `claimed` (score: when its claim ends), both in milliseconds, or in `dead`. `holders`
-- has "<fence>|<deliveries>".

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Milliseconds by which an episode that somebody spoke about goes before those that nobody did.
local TOLD_FIRST = 30 * 24 * 3600 * 1000

local DAY = 24 * 3600 * 1000
local DAYS = 400 -- of which `days` tells; no episode is kept for more than 365

-- Write down, as "<day>:<seq> ...", which episode was the last before each day of traffic. What an older package took in
-- counts as of the first day that is written down.
local function begin_day(at)
  local today, days = math.floor(now_ms() / DAY), redis.call('HGET', at.traffic, 'days') or ''
  local latest = string.match(days, '(%d+):%d+$')
  if latest and tonumber(latest) >= today then return end
  local last = latest and tonumber(redis.call('HGET', at.traffic, 'seq') or 0) or 0
  local marks = {}
  for mark in string.gmatch(days, '%S+') do marks[#marks + 1] = mark end
  marks[#marks + 1] = string.format('%d:%d', today, last)
  redis.call('HSET', at.traffic, 'days', table.concat(marks, ' ', math.max(1, #marks - DAYS + 1)))
end

-- The last episode that was taken in more than so many days ago, 0 if there is none: seqs are given in their order.
local function last_before(at, days)
  local stored, from = redis.call('HGET', at.traffic, 'days'), math.floor(now_ms() / DAY) - days
  if not stored then return 0 end
  for day, last in string.gmatch(stored, '(%d+):(%d+)') do
    if tonumber(day) >= from then return tonumber(last) end
  end
  return tonumber(redis.call('HGET', at.traffic, 'seq') or 0)
end

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

-- Images go with the last episode that holds them; each has a field for its seq. Their keys begin as the traffic's does.
local function let_go_of_images(at, seq)
  local hashes = redis.call('HGET', at.traffic, 'images ' .. seq)
  if not hashes then return end
  redis.call('HDEL', at.traffic, 'images ' .. seq)
  for hash in string.gmatch(hashes, '%S+') do
    local image = string.sub(at.traffic, 1, -#'traffic' - 1) .. 'image:' .. hash
    redis.call('HDEL', image, seq)
    if redis.call('HLEN', image) == 1 then redis.call('HDEL', image, 'data') end
  end
end

-- What is known of a dead letter; one that is damaged stops nobody, and is as old as can be.
local function letter_of(at, seq)
  local is_read, letter = pcall(cjson.decode, redis.call('HGET', at.dead, seq) or '')
  if not is_read or type(letter) ~= 'table' then return {at = 0} end
  return {at = tonumber(letter.at) or 0, counted = letter.counted}
end

local function size_of(at, seq)
  return tonumber(string.match(redis.call('HGET', at.episodes, seq) or '', '^(%d+)|')) or 0
end

-- An episode is no dead letter any more. Dead letters have bounds of their own: `dead_now` and `dead_bytes` of the traffic
-- say how much of what is stored they are.
local function raise(at, seq)
  local letter = letter_of(at, seq)
  if redis.call('HDEL', at.dead, seq) == 0 then return false end
  if letter.counted then -- else an older package buried it
    redis.call('HINCRBY', at.traffic, 'dead_now', -1)
    redis.call('HINCRBY', at.traffic, 'dead_bytes', -size_of(at, seq))
  end
  return true
end

-- Forget an episode altogether; `at.dead` where it may be a dead letter.
local function take_out(at, seq)
  if at.dead then raise(at, seq) end
  redis.call('HINCRBY', at.traffic, 'bytes', -size_of(at, seq))
  let_go_of_images(at, seq)
  redis.call('HDEL', at.episodes, seq)
  redis.call('HDEL', at.holders, seq)
  redis.call('ZREM', at.waiting, seq)
  redis.call('ZREM', at.claimed, seq)
end

-- Forget the oldest dead letters: those beyond so many, and those that are older (milliseconds).
local function let_go_of_dead(at, most, kept)
  local seqs = redis.call('HKEYS', at.dead)
  table.sort(seqs, function(one, other) return tonumber(one) < tonumber(other) end)
  for i, seq in ipairs(seqs) do
    if #seqs - i >= most or letter_of(at, seq).at <= now_ms() - kept then take_out(at, seq) end
  end
end

-- Forget episodes that have waited for more days than that, and count them. A claimed one is being learned from.
local function let_go_of_late(at, days)
  local last, gone = last_before(at, days), 0
  if last == 0 then return end
  for _, seq in ipairs(redis.call('ZRANGE', at.waiting, 0, -1)) do
    if tonumber(seq) <= last then
      take_out(at, seq)
      gone = gone + 1
    end
  end
  if gone > 0 then redis.call('HINCRBY', at.traffic, 'expired', gone) end
end

-- Take an episode out of the archive; tell whether it was there.
local function let_go_of_archived(at, seq)
  local size = redis.call('HSTRLEN', at.archive, seq)
  redis.call('ZREM', at.archived, seq)
  if redis.call('HDEL', at.archive, seq) == 0 then return false end
  redis.call('HINCRBY', at.traffic, 'archive_bytes', -size)
  return true
end

-- Make a dead letter of an episode; it keeps its body. The oldest make room for it.
local function bury(at, seq, deliveries, reason, most, kept)
  redis.call('HSET', at.dead, seq, cjson.encode({deliveries = deliveries, reason = reason, at = now_ms(), counted = 1}))
  redis.call('HDEL', at.holders, seq)
  redis.call('ZREM', at.waiting, seq)
  redis.call('ZREM', at.claimed, seq)
  redis.call('HINCRBY', at.traffic, 'dead', 1)
  redis.call('HINCRBY', at.traffic, 'dead_now', 1)
  redis.call('HINCRBY', at.traffic, 'dead_bytes', size_of(at, seq))
  redis.call('HSET', at.traffic, 'last_error', reason)
  let_go_of_dead(at, most, kept)
end
