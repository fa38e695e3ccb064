-- Shared by the scripts on evidence, which begin with episodes.lua and this. `evidence` is one hash:
--   "<id>"          the sums of a lesson, in all: 23 numbers joined by "|", in the order of experience.evidence.Sums
--   "<id> <voice>"  the same of one voice: principals are told apart up to 128
--   "<id> done"     the archived episodes that it was replayed on, as ",1,2,"
--   "<id> done to"  this episode and all before it count as replayed on: the list is bounded
--   "<id> from"     since it is active: it is watched on later episodes than this one
--   "<id> units"    the conversations of which an outcome was counted, as ",0a1b2c3d,"
--   "<id> #"        the number of its latest change; " #" is the latest of all
-- Ids have no blanks, so no lesson can take another's field.
-- What the numbers mean, and why they are fair bets, stands in experience/evidence.py; its functions are the same.
local BETS, WORTH, VOICES = {0.3, 0.6, 0.9}, 0.1, 128
local LONGEST_LIST = 8000 -- characters: about a thousand episodes or conversations, the latest
local PAIRS, WITH, WITHOUT, HELPS, USELESS, OUTCOMES, SCORE, LIVE, HARMS, WATCHED, TURNED, BEGUN, SILENT =
  1, 2, 3, 4, 7, 10, 11, 12, 13, 16, 17, 20, 23
local NUMBERS = 23

local function sums_of(evidence, field)
  local sums = {}
  for number in string.gmatch(redis.call('HGET', evidence, field) or '', '[^|]+') do sums[#sums + 1] = tonumber(number) end
  for i = #sums + 1, NUMBERS do sums[i] = 0 end
  return sums
end

local function keep_sums(evidence, field, sums)
  local told = {}
  for i, number in ipairs(sums) do told[i] = string.format('%.17g', number) end
  redis.call('HSET', evidence, field, table.concat(told, '|'))
end

-- The fields of a lesson's sums: in all, and of each voice.
local function fields_of(id)
  local fields = {id}
  for voice = 0, VOICES - 1 do fields[#fields + 1] = id .. ' ' .. voice end
  return fields
end

local function voice_of(id, principal)
  return id .. ' ' .. tonumber(string.sub(redis.sha1hex(principal), 1, 4), 16) % VOICES
end

-- Learners read only what has another number than the one that they know. So numbers follow the clock: none comes
-- again after a drop or a loss of data.
local function evidence_changed(evidence, id)
  local change = math.max(tonumber(redis.call('HGET', evidence, ' #') or 0) + 1, now_ms())
  redis.call('HSET', evidence, ' #', change, id .. ' #', change)
end

local function each_voice_and_all(evidence, id, principal, change)
  for _, field in ipairs({voice_of(id, principal), id}) do
    local sums = sums_of(evidence, field)
    change(sums)
    keep_sums(evidence, field, sums)
  end
  evidence_changed(evidence, id)
end

-- Add to a list of a lesson's, unless it is in it; tell whether it was.
local function is_listed(evidence, field, value)
  local list = redis.call('HGET', evidence, field) or ','
  return string.find(list, ',' .. value .. ',', 1, true) ~= nil, list
end

local function add_to_list(evidence, field, value)
  local listed, list = is_listed(evidence, field, value)
  if listed then return end
  list = list .. value .. ','
  if #list > LONGEST_LIST then list = string.sub(list, (string.find(list, ',', #list - LONGEST_LIST, true))) end
  redis.call('HSET', evidence, field, list)
end

-- Tell whether an episode was replayed with a lesson, or counts as if: the list of those that were is bounded, and the
-- oldest that was left out of it stands for all before.
local function is_done(evidence, id, seq)
  return tonumber(seq) <= tonumber(redis.call('HGET', evidence, id .. ' done to') or 0)
    or is_listed(evidence, id .. ' done', seq)
end

local function add_to_done(evidence, id, seq)
  local list = (redis.call('HGET', evidence, id .. ' done') or ',') .. seq .. ','
  while #list > LONGEST_LIST do
    local oldest = math.huge
    for one in string.gmatch(list, '%d+') do oldest = math.min(oldest, tonumber(one)) end
    local at, to = string.find(list, string.format(',%d,', oldest), 1, true)
    list = string.sub(list, 1, at) .. string.sub(list, to + 1)
    redis.call('HSET', evidence, id .. ' done to', string.format('%d', oldest))
  end
  redis.call('HSET', evidence, id .. ' done', list)
end

-- Add steps to a voice on an active lesson: what it said before `all` was begun anew is over.
local function hear(evidence, id, principal, steps, all, count)
  local field = voice_of(id, principal)
  local voice = sums_of(evidence, field)
  for i, step in ipairs(steps) do
    local t, b = TURNED + i - 1, BEGUN + i - 1
    if voice[b] ~= all[b] then voice[t], voice[b] = 0, all[b] end
    voice[t] = voice[t] + step
  end
  voice[WATCHED] = voice[WATCHED] + count
  keep_sums(evidence, field, voice)
end

-- Add steps against an active lesson. Return how often it was begun anew then, for each bet.
local function watch(evidence, id, principal, steps)
  local all, begun = sums_of(evidence, id), {}
  for i, step in ipairs(steps) do
    local t, b = TURNED + i - 1, BEGUN + i - 1
    if all[t] <= 0 then all[t], all[b] = 0, all[b] + 1 end
    all[t], begun[i] = all[t] + step, all[b]
  end
  all[WATCHED] = all[WATCHED] + 1
  keep_sums(evidence, id, all)
  hear(evidence, id, principal, steps, all, 1)
  evidence_changed(evidence, id)
  return begun
end

-- Add what a correction changes: nothing is begun anew by it, and what was begun anew since is closed.
local function correct_watched(evidence, id, principal, old, new, begun_then)
  local all, steps = sums_of(evidence, id), {}
  for i = 1, #new do
    steps[i] = all[BEGUN + i - 1] == begun_then[i] and new[i] - old[i] or 0
    all[TURNED + i - 1] = all[TURNED + i - 1] + steps[i]
  end
  keep_sums(evidence, id, all)
  hear(evidence, id, principal, steps, all, 0)
  evidence_changed(evidence, id)
end

-- Forget all evidence on a lesson: its text is another one, or it is gone.
local function forget_evidence(evidence, id)
  if redis.call('HDEL', evidence, id .. ' #') == 0 then return end
  redis.call('HDEL', evidence, id .. ' done', id .. ' done to', id .. ' from', id .. ' units', unpack(fields_of(id)))
end

-- Nothing speaks against a lesson that becomes active.
local function watch_again(evidence, id)
  if redis.call('HEXISTS', evidence, id) == 0 then return end
  local sums = sums_of(evidence, id)
  for i = 0, 2 do sums[TURNED + i], sums[BEGUN + i] = 0, sums[BEGUN + i] + 1 end
  keep_sums(evidence, id, sums)
  redis.call('HDEL', evidence, id .. ' from')
  evidence_changed(evidence, id)
end

-- A trial begins with no outcomes: those of an earlier one were bets against another rule, or ended it.
local function try_again(evidence, id)
  if redis.call('HEXISTS', evidence, id) == 0 then return end
  for _, field in ipairs(fields_of(id)) do
    if redis.call('HEXISTS', evidence, field) == 1 then
      local sums = sums_of(evidence, field)
      for i = OUTCOMES, WATCHED - 1 do sums[i] = 0 end
      keep_sums(evidence, field, sums)
    end
  end
  evidence_changed(evidence, id)
end

local function guess_of(sums)
  return math.min(math.max((0.5 + sums[SCORE]) / (1 + sums[OUTCOMES]), 0.2), 0.8)
end

-- Return the log factors of one live outcome: that it helps, and for each bet that it harms.
local function live_steps(score, shown, chance, guess, bet, refuted)
  local z = shown and (score - guess) / chance or -(score - guess) / (1 - chance)
  local widest, harms = 0.8 / math.min(chance, 1 - chance), {}
  for i, share in ipairs(BETS) do harms[i] = math.log(1 - share * z / widest) end
  return math.log(1 + bet * (z - refuted) / (widest + math.abs(refuted))), harms
end
