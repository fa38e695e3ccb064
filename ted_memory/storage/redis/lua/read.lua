-- Read one namespace's set, in proportion to what changed since (epoch, version, stamp). Writes nothing.
-- KEYS: meta, experiences, ranking, log
-- ARGV: epoch, version, stamp (of what the caller holds; '', 0, '' for nothing), most (versions to walk at most)
-- Returns JSON: ["absent"] | ["same"] | ["changes" or "all", head, [id, item, ...] ('' for an item that is gone),
--          [id, usage, ...]], head = [epoch, version, stamp, max_experiences, token_budget, format, log_start, models,
--          presentation].
--          One string, since clients parse it eight times as fast as a list of many
local meta, experiences, ranking, log = unpack(KEYS)
local epoch, version, stamp, most = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])

local head = redis.call('HMGET', meta, 'epoch', 'version', 'stamp', 'max_experiences', 'token_budget', 'format',
  'log_start', 'models', 'presentation')
if not head[1] then return '["absent"]' end
local now = tonumber(head[2])
if head[1] == epoch and now == version and head[3] == stamp then return '["same"]' end

local function all()
  return cjson.encode({'all', head, redis.call('HGETALL', experiences), redis.call('HGETALL', ranking)})
end
if head[1] ~= epoch or now <= version then return all() end
-- to walk a version costs as much as to send a few lessons
if now - version > math.min(most, redis.call('HLEN', experiences) / 4 + 16) then return all() end
-- data that were restored reach a version a second time, by another way
if string.match(redis.call('HGET', log, version) or '', '^%S*') ~= stamp then return all() end

local seen, ids = {}, {}
for v = version + 1, now do
  local index = string.match(redis.call('HGET', log, v) or '', '^%S+( [^\n]*)\n')
  if not index then return all() end
  for id in string.gmatch(index, '%S+') do
    if not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
end
local items, usage = {}, {}
for _, id in ipairs(ids) do
  items[#items + 1] = id
  items[#items + 1] = redis.call('HGET', experiences, id) or ''
  usage[#usage + 1] = id
  usage[#usage + 1] = redis.call('HGET', ranking, id) or ''
end
return cjson.encode({'changes', head, items, usage})
