-- Take in episodes, each once for its run. Begins with episodes.lua.
-- KEYS: traffic, episodes, waiting, rate, run (one for each episode), image (one for each)
-- ARGV: request (JSON: wait, ttl, early_ttl, rate_ttl (milliseconds), max_episodes, max_bytes, rate_limit,
--       items of {principal, unit, seen, withheld, version, withhold, size, body, images: places among the images},
--       hashes of the images), the images
-- Returns {recorded, repeated, dropped, limited, places of the items for which feedback had come before,
--          1 if the namespace's first episode is among them, 0 otherwise}
local at = {traffic = KEYS[1], episodes = KEYS[2], waiting = KEYS[3]}
local rate, request, now = KEYS[4], cjson.decode(ARGV[1]), now_ms()
local done = {recorded = 0, repeated = 0, dropped = 0, limited = 0}
local early, first = {}, 0

-- Keep the images of an episode that is taken in.
local function keep_images(item, seq)
  if #item.images == 0 then return end
  local hashes = {}
  for _, place in ipairs(item.images) do
    local image = KEYS[4 + #request.items + place]
    if redis.call('HEXISTS', image, 'data') == 0 then redis.call('HSET', image, 'data', ARGV[1 + place]) end
    redis.call('HSET', image, seq, '')
    redis.call('PEXPIRE', image, request.ttl)
    hashes[#hashes + 1] = request.hashes[place]
  end
  redis.call('HSET', at.traffic, 'images ' .. seq, table.concat(hashes, ' '))
end

for i, item in ipairs(request.items) do
  local run, queued = KEYS[4 + i], 0
  local outcome = 'recorded'
  if redis.call('HEXISTS', run, 'seq') == 1 then
    outcome = 'repeated'
  else
    -- dead letters take nothing of what may wait
    local stored = redis.call('HMGET', at.traffic, 'bytes', 'dead_bytes', 'dead_now')
    local size, bytes = item.size, tonumber(stored[1] or 0) - tonumber(stored[2] or 0)
    local waiting = redis.call('HLEN', at.episodes) - tonumber(stored[3] or 0)
    if redis.call('HINCRBY', rate, 'e:' .. item.principal, 1) > request.rate_limit then
      outcome = 'limited'
    elseif waiting >= request.max_episodes or bytes + size > request.max_bytes then
      outcome = 'dropped'
    end
    local told = redis.call('HEXISTS', run, 'told') == 1
    if told then early[#early + 1] = i end
    if outcome == 'recorded' then
      begin_day(at)
      queued = redis.call('HINCRBY', at.traffic, 'seq', 1)
      redis.call('HSET', at.episodes, queued, size .. '|' .. item.body)
      keep_images(item, queued)
      redis.call('HINCRBY', at.traffic, 'bytes', size)
      -- a set of equal scores would be in the order of letters: those of one call are a bit apart, and none is late
      local due = told and now - TOLD_FIRST or now + request.wait
      redis.call('ZADD', at.waiting, due - (#request.items - i) / 1024, queued)
      if queued == 1 then first = 1 end
    end
    redis.call('HSET', run, 'seq', queued, 'principal', item.principal, 'seen', item.seen, 'withheld', item.withheld,
      'version', item.version, 'withhold', item.withhold, 'unit', item.unit)
    redis.call('PEXPIRE', run, outcome == 'limited' and request.early_ttl or request.ttl)
  end
  done[outcome] = done[outcome] + 1
  redis.call('HINCRBY', at.traffic, outcome, 1)
end
redis.call('PEXPIRE', rate, request.rate_ttl)
return {done.recorded, done.repeated, done.dropped, done.limited, early, first}
