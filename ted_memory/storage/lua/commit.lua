-- Apply the edits of one commit to one namespace. All checks come before the first write. Begins with usage.lua.
-- KEYS: meta, experiences, usage, ranking, log, applied
-- ARGV: request (JSON, see codec.encode_request), ttl (milliseconds that the answer is kept)
-- Returns {repeated (0 or 1), answer (JSON: epoch, version, items of {edit, id, reason})}
local meta, experiences, usage, ranking, log, applied = unpack(KEYS)
local request, ttl = cjson.decode(ARGV[1]), ARGV[2]

local before = redis.call('GET', applied)
if before then
  redis.call('PEXPIRE', applied, ttl)
  return {1, before}
end

local function number(field, default)
  return tonumber(redis.call('HGET', meta, field) or default)
end

local epoch = redis.call('HGET', meta, 'epoch')
local created = not epoch
epoch = epoch or request.epoch
local version = number('version', 0)
local caps = {experiences = number('max_experiences', request.caps.max_experiences),
              tokens = number('token_budget', request.caps.token_budget)}
if request.force_caps then
  caps = {experiences = request.caps.max_experiences, tokens = request.caps.token_budget}
end
local active, tokens = number('active', 0), number('active_tokens', 0)

local function current(id)
  local raw = redis.call('HGET', experiences, id)
  if not raw then return nil end
  local rev, order, state, cost, body = string.match(raw, '^(%d+)|(%d+)|(%a+)|(%d+)|(.*)$')
  return {raw = raw, rev = tonumber(rev), order = tonumber(order), state = state, tokens = tonumber(cost), body = body}
end

local function active_cost(item)
  if item and item.state == 'active' then return 1, item.tokens end
  return 0, 0
end

-- Returns a reason to refuse the change, or nil, and what it does to the count of active experiences and tokens.
local touched = {}
local function check(change)
  for _, pair in ipairs(change.expects) do
    local item = current(pair[1])
    if touched[pair[1]] or (item and item.rev or -1) ~= pair[2] then return 'conflict' end
  end
  local changes, count, cost = #change.deletes > 0, 0, 0
  for _, id in ipairs(change.deletes) do
    local c, t = active_cost(current(id))
    count, cost = count - c, cost - t
  end
  for _, put in ipairs(change.puts) do
    local item = current(put.id)
    local c, t = active_cost(item)
    local new_c, new_t = active_cost(put)
    count, cost = count - c + new_c, cost - t + new_t
    if not (item and item.state == put.state and item.body == put.body and item.order == put.order) then
      changes = true
    end
  end
  if not changes then return 'unchanged' end
  if count > 0 and active + count > caps.experiences then return 'cap' end
  if cost > 0 and request.frame_tokens + tokens + cost > caps.tokens then return 'cap' end
  return nil, count, cost
end

local accepted, items, refused = {}, {}, 0
local stale = request.expect_version and request.expect_version ~= version
for i, change in ipairs(request.changes) do
  local reason, count, cost = change.rejected, 0, 0
  if reason == '' then
    if stale then reason = 'conflict' else reason, count, cost = check(change) end
  end
  if reason then
    refused = refused + 1
  else
    for _, pair in ipairs(change.expects) do touched[pair[1]] = true end
    active, tokens = active + count, tokens + cost
    accepted[#accepted + 1] = change
  end
  items[i] = {edit = change.edit, id = change.id, reason = reason or ''}
end
if request.atomic and refused > 0 then
  accepted = {}
  for _, item in ipairs(items) do
    if item.reason == '' then item.reason = 'aborted' end
  end
end

if #accepted > 0 then
  version = version + 1
  local order, names, changes = number('next_order', 0), {}, {}
  for i, change in ipairs(accepted) do
    local entry = {}
    local function record(id, old, new)
      names[#names + 1] = id
      entry[#entry + 1] = {id, old or '', new}
    end
    for _, id in ipairs(change.deletes) do
      record(id, redis.call('HGET', experiences, id), '')
      redis.call('HDEL', experiences, id)
      redis.call('HDEL', usage, id)
    end
    for _, put in ipairs(change.puts) do
      local place = put.order
      if place == 0 then place = order + 1 end
      order = math.max(order, place)
      local raw = string.format('%d|%d|%s|%d|%s', version, place, put.state, put.tokens, put.body)
      record(put.id, redis.call('HGET', experiences, put.id), raw)
      redis.call('HSET', experiences, put.id, raw)
    end
    for _, id in ipairs(change.fresh) do redis.call('HDEL', usage, id) end
    changes[i] = {edit = change.edit, items = entry}
  end
  local time = redis.call('TIME')
  local entry = cjson.encode({version = version, at = time[1] .. '.' .. string.format('%06d', time[2]),
    author = request.author, why = request.why, token = request.token, changes = changes})
  -- the first line lets `read` find what changed without decoding the entry
  redis.call('HSET', log, version, table.concat(names, ' ') .. '\n' .. entry)
  local oldest = number('log_start', 1)
  local keep_from = math.max(oldest, version - request.history + 1)
  for old = oldest, math.min(keep_from - 1, oldest + 99) do
    redis.call('HDEL', log, old)
    oldest = old + 1
  end
  redis.call('HSET', meta, 'format', request.format, 'epoch', epoch, 'version', version, 'active', active,
    'active_tokens', tokens, 'next_order', order, 'log_start', oldest,
    'max_experiences', caps.experiences, 'token_budget', caps.tokens)
  add_usage(experiences, usage, request.usage)
  if redis.call('EXISTS', usage) == 1 then
    redis.call('COPY', usage, ranking, 'REPLACE')
  else
    redis.call('DEL', ranking)
  end
elseif created then
  epoch = ''
end

local answer = cjson.encode({epoch = epoch, version = version, items = items})
redis.call('SET', applied, answer, 'PX', ttl)
return {0, answer}
