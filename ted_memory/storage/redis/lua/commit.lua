-- Apply the edits of one commit to one namespace. All checks come before the first write. Begins with usage.lua,
-- episodes.lua and evidence.lua.
-- KEYS: meta, experiences, usage, ranking, log, purged, applied, uncommitted, evidence, usage_before, traffic, episodes,
--       waiting, claimed, holders, spend, archive, archived (the last eight where an episode is settled by it)
-- ARGV: request (JSON, see codec.encode_request), ttl (milliseconds that the answer is kept), ends (milliseconds after
--       which a staging set ends that nothing more is written to; 0: the set stays), channel (on which a new version is
--       told of; '': nobody is told)
-- Returns {repeated (0 or 1), answer (JSON: epoch, version, items of {edit, id, reason})}
local meta, experiences, usage, ranking, log, purged, applied, uncommitted, evidence, usage_before = unpack(KEYS, 1, 10)
local traffic, episodes, waiting, claimed, holders, spend, archive, archived = unpack(KEYS, 11)
local STUDENTS = 8 -- before the present one, whose usage is kept
local request, ttl, ends, channel = cjson.decode(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]

local before = redis.call('GET', applied)
if before then
  redis.call('PEXPIRE', applied, ttl)  -- a write: what waits for replicas or the disk waits for the commit, too
  return {1, before}
end

-- A learner that froze for longer than its lease comes too late: another one has taken over.
local settle = request.settle
local at = {traffic = traffic, episodes = episodes, waiting = waiting, claimed = claimed, holders = holders,
            archive = archive, archived = archived}
if settle and holder(at, settle.seq) ~= settle.fence then return redis.error_reply('TEDFENCED') end

local fields = {'format', 'epoch', 'version', 'stamp', 'active', 'active_tokens', 'next_order', 'log_start',
                'max_experiences', 'token_budget', 'models', 'presentation'}
local head = {}
for i, value in ipairs(redis.call('HMGET', meta, unpack(fields))) do head[fields[i]] = value end
local function number(field, default) return tonumber(head[field] or default) end

if number('format', 0) > request.format then return redis.error_reply('TEDFORMAT ' .. head.format) end
local created = not head.epoch
local epoch, version = head.epoch or request.epoch, number('version', 0)
local caps = {experiences = number('max_experiences', request.caps.max_experiences),
              tokens = number('token_budget', request.caps.token_budget)}
local stored = {experiences = caps.experiences, tokens = caps.tokens}
for _, name in ipairs(request.stated) do
  if name == 'max_experiences' then caps.experiences = request.caps.max_experiences end
  if name == 'token_budget' then caps.tokens = request.caps.token_budget end
end
local active, tokens = number('active', 0), number('active_tokens', 0)

-- The caller looked at another line of history: the data were lost or restored since. Its revs mean nothing here.
local elsewhere, base = false, request.base
if base.version > 0 then
  if base.epoch ~= epoch or base.version > version then
    elsewhere = true
  else
    local stamp = head.stamp or ''
    if base.version < version then
      stamp = string.match(redis.call('HGET', log, base.version) or base.stamp, '^%S*')
    end
    elsewhere = base.stamp ~= '' and stamp ~= base.stamp
  end
end

local function parsed(raw)
  if not raw then return nil end
  local rev, order, state, cost, body = string.match(raw, '^(%d+)|(%d+)|(%a+)|(%d+)|(.*)$')
  return {raw = raw, rev = tonumber(rev), order = tonumber(order), state = state, tokens = tonumber(cost), body = body}
end

local function current(id) return parsed(redis.call('HGET', experiences, id)) end

local function active_cost(item)
  if item and item.state == 'active' then return 1, item.tokens end
  return 0, 0
end

local any_purged = redis.call('EXISTS', purged) == 1
local function is_purged(item)
  if not any_purged then return false end
  for _, source in ipairs(item.sources) do
    if redis.call('SISMEMBER', purged, source) == 1 then return true end
  end
  return false
end

-- Returns a reason to refuse the change, or nil, and what it does to the count of active experiences and tokens.
local touched = {}
local function check(change)
  for _, pair in ipairs(change.expects) do
    local item = current(pair[1])
    if touched[pair[1]] or (item and item.rev or -1) ~= pair[2] then return 'conflict' end
    if elsewhere and item then return 'conflict' end
  end
  local changes, count, cost = #change.deletes > 0, 0, 0
  for _, id in ipairs(change.deletes) do
    local c, t = active_cost(current(id))
    count, cost = count - c, cost - t
  end
  for _, put in ipairs(change.puts) do
    if is_purged(put) then return 'purged' end
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

-- What a lesson was worth to one student says nothing of another: lay its usage aside, and bring back what was laid
-- aside for the new one.
local function change_usage(id, old, new)
  local aside, back = {}, nil
  local counters = redis.call('HGET', usage, id)
  if counters then aside[1] = {old, counters} end
  for _, pair in ipairs(cjson.decode(redis.call('HGET', usage_before, id) or '[]')) do
    if pair[1] == new then back = pair[2] elseif pair[1] ~= old and #aside < STUDENTS then aside[#aside + 1] = pair end
  end
  if back then redis.call('HSET', usage, id, back) else redis.call('HDEL', usage, id) end
  if #aside > 0 then
    redis.call('HSET', usage_before, id, cjson.encode(aside))
  else
    redis.call('HDEL', usage_before, id)
  end
end

local function student_of(models)
  return models and models ~= '' and cjson.decode(models).student or ''
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
  items[i] = {edit = change.told, id = change.id, reason = reason or ''}
end
local undone = request.atomic and refused > 0
if undone then
  accepted = {}
  for _, item in ipairs(items) do
    if item.reason == '' then item.reason = 'aborted' end
  end
end

-- how the set is shown, and who learned it, may change by themselves
local function restated(name)
  return #request.changes == 0 and not stale and request[name] ~= '' and request[name] ~= head[name]
end
if #accepted > 0 or restated('presentation') or restated('models') then
  version = version + 1
  -- a lowered cap begins to hold with the first commit that leaves the set within it
  if active > caps.experiences then caps.experiences = math.max(stored.experiences, caps.experiences) end
  if request.frame_tokens + tokens > caps.tokens then caps.tokens = math.max(stored.tokens, caps.tokens) end
  local order, names, named, changes = number('next_order', 0), {}, {}, {}
  local function name(id)
    if not named[id] then
      named[id] = true
      names[#names + 1] = id
    end
  end
  for i, change in ipairs(accepted) do
    local entry = {}
    local function record(id, old, new)
      name(id)
      entry[#entry + 1] = {id, old or '', new}
    end
    for _, id in ipairs(change.deletes) do
      record(id, redis.call('HGET', experiences, id), '')
      redis.call('HDEL', experiences, id)
      redis.call('HDEL', usage, id)
      redis.call('HDEL', usage_before, id)
      forget_evidence(evidence, id)
    end
    for _, put in ipairs(change.puts) do
      local place = put.order
      if place == 0 then place = math.min(order + 1, 2 ^ 52) end -- beyond it numbers are no longer told apart
      order = math.max(order, place)
      local raw = string.format('%d|%d|%s|%d|', version, place, put.state, put.tokens) .. put.body
      local old = redis.call('HGET', experiences, put.id)
      record(put.id, old, raw)
      redis.call('HSET', experiences, put.id, raw)
      local before = parsed(old)
      if before and before.state ~= put.state then
        if put.state == 'active' then watch_again(evidence, put.id) end
        if put.state == 'trial' then try_again(evidence, put.id) end
      end
    end
    for _, id in ipairs(change.fresh) do
      redis.call('HDEL', usage, id)
      redis.call('HDEL', usage_before, id)
      forget_evidence(evidence, id)
    end
    changes[i] = {edit = change.edit, items = entry}
  end
  local old, new = student_of(head.models), student_of(request.models)
  if old ~= '' and new ~= '' and old ~= new then
    for _, id in ipairs(redis.call('HKEYS', experiences)) do
      change_usage(id, old, new)
      name(id)
    end
  end
  add_usage(experiences, usage, request.usage, 1)
  for _, addition in ipairs(request.usage) do name(addition[1]) end
  for _, id in ipairs(redis.call('SMEMBERS', uncommitted)) do name(id) end
  redis.call('PEXPIRE', uncommitted, 0)
  for _, id in ipairs(names) do
    local counters = redis.call('HGET', usage, id)
    if counters then redis.call('HSET', ranking, id, counters) else redis.call('HDEL', ranking, id) end
  end
  local time = redis.call('TIME')
  local entry = cjson.encode({version = version, at = time[1] .. '.' .. string.format('%06d', time[2]),
    author = request.author, why = request.why, token = request.token, changes = changes})
  -- the first line (stamp, ids) lets `read` find what changed without decoding the entry
  redis.call('HSET', log, version, request.stamp .. ' ' .. table.concat(names, ' ') .. '\n' .. entry)
  local oldest = number('log_start', 1)
  local keep_from = math.max(oldest, version - request.history + 1)
  for old = oldest, math.min(keep_from - 1, oldest + 99) do
    redis.call('HDEL', log, old)
    oldest = old + 1
  end
  redis.call('HSET', meta, 'format', request.format, 'epoch', epoch, 'version', version, 'stamp', request.stamp,
    'active', active, 'active_tokens', tokens, 'next_order', order, 'log_start', oldest,
    'max_experiences', caps.experiences, 'token_budget', caps.tokens,
    'models', request.models ~= '' and request.models or head.models or '',
    'presentation', request.presentation ~= '' and request.presentation or head.presentation or '')
  -- pcall: whoever may not publish commits all the same, and agents find the version by looking
  if channel ~= '' then redis.pcall('SPUBLISH', channel, epoch .. ' ' .. string.format('%d', version)) end
else
  if created then epoch = '' end
  if settle and not undone then carry(uncommitted, add_usage(experiences, usage, request.usage, 1)) end
end

if settle and not undone then
  take_out(at, settle.seq)
  -- an episode larger than the whole archive would push out all others; what was purged since is not kept
  if #settle.archive > 0 and #settle.archive <= settle.max_archive_bytes and not is_purged(settle) then
    redis.call('HSET', archive, settle.seq, settle.archive)
    redis.call('ZADD', archived, settle.seq, settle.seq)
    redis.call('HINCRBY', at.traffic, 'archive_bytes', #settle.archive)
  end
  if #settle.archive > 0 then
    local bytes = tonumber(redis.call('HGET', at.traffic, 'archive_bytes') or 0)
    while bytes > settle.max_archive_bytes or redis.call('ZCARD', archived) > settle.max_archived do
      local oldest = redis.call('ZRANGE', archived, 0, 0)[1]
      if not oldest then break end
      let_go_of_archived(at, oldest)
      bytes = tonumber(redis.call('HGET', at.traffic, 'archive_bytes'))
    end
  end
  redis.call('HINCRBY', at.traffic, settle.outcome, 1)
  redis.call('HSET', at.traffic, 'settled_at', now_ms())
  for _, pair in ipairs(settle.counters) do redis.call('HINCRBY', spend, pair[1], pair[2]) end
  redis.call('PEXPIRE', spend, settle.ttl)
end

if ends ~= '0' then
  for _, name in ipairs({meta, experiences, usage, ranking, log, uncommitted, usage_before}) do
    redis.call('PEXPIRE', name, ends)
  end
end

local answer = cjson.encode({epoch = epoch, version = version, items = items})
redis.call('SET', applied, answer, 'PX', ttl)
return {0, answer}
