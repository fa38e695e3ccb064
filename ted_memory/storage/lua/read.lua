-- Read one namespace's set, in proportion to what changed since (epoch, version).
-- KEYS: meta, experiences, ranking, log
-- ARGV: epoch, version (of what the caller holds; '' and 0 for nothing), most (versions to walk before all is sent)
-- Returns {'absent'} | {'same'} | {'changes' or 'all', {epoch, version, max_experiences, token_budget},
--          {id, item, ...} ('' for an item that is gone), {id, usage, ...}}
local meta, experiences, ranking, log = unpack(KEYS)
local epoch, version, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local head = redis.call('HMGET', meta, 'epoch', 'version', 'max_experiences', 'token_budget', 'format')
if not head[1] then return {'absent'} end
local now = tonumber(head[2])
if head[1] == epoch and now == version then return {'same'} end

local function all()
  return {'all', head, redis.call('HGETALL', experiences), redis.call('HGETALL', ranking)}
end
if head[1] ~= epoch or now < version or now - version > most then return all() end

local seen, ids = {}, {}
for v = version + 1, now do
  local entry = redis.call('HGET', log, v)
  if not entry then return all() end
  for id in string.gmatch(string.match(entry, '^[^\n]*'), '%S+') do
    if not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
end
local items = {}
for _, id in ipairs(ids) do
  items[#items + 1] = id
  items[#items + 1] = redis.call('HGET', experiences, id) or ''
end
return {'changes', head, items, redis.call('HGETALL', ranking)}
