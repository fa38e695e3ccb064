-- Keep what is said of a run, wake its episode, and credit its score to the lessons that the run had seen or missed.
-- Begins with usage.lua and episodes.lua.
-- KEYS: run, waiting, uncommitted, experiences, usage, rate, voices
-- ARGV: feedback (JSON; '' for none), score ('' for none), principal, first (1: only where nothing was counted yet),
--       rate_limit, ttl, rate_ttl (milliseconds), kept (share of older usage of an active lesson), most (outcomes of one
--       principal that count for a lesson on trial; 0: any number)
-- Returns one of the words of episodes.Verdict
local run, waiting, uncommitted, experiences, usage, rate, voices = unpack(KEYS)
local feedback, score, principal, first = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local rate_limit, ttl, rate_ttl = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local kept, most = tonumber(ARGV[8]), tonumber(ARGV[9])

if feedback ~= '' then
  local said = redis.call('HINCRBY', rate, 'o:' .. principal, 1)
  redis.call('PEXPIRE', rate, rate_ttl)
  if said > rate_limit then return 'limited' end
  -- the latest twenty are kept
  local place = redis.call('HINCRBY', run, 'told', 1) % 20
  redis.call('HSET', run, 'f' .. place, feedback)
  redis.call('PEXPIRE', run, ttl)
end
local seq = redis.call('HGET', run, 'seq')
if not seq then return 'unknown' end
-- what is due keeps its place in the queue
if feedback ~= '' and redis.call('ZSCORE', waiting, seq) then redis.call('ZADD', waiting, 'LT', now_ms(), seq) end
if not score then return 'kept' end
local before = tonumber(redis.call('HGET', run, 'score'))
if before and (first or before == score) then return 'repeated' end

local of_run = redis.call('HGET', run, 'principal')
local skipped = {}
for id in string.gmatch(redis.call('HGET', run, 'skipped') or '', '%S+') do skipped[id] = true end
local names = ''
local function counts(id, state)
  if before then return not skipped[id] end
  if state ~= 'trial' or most == 0 then return true end
  if redis.call('HINCRBY', voices, id .. ' ' .. of_run, 1) <= most then return true end
  names = names .. ' ' .. id
  return false
end
local plain, fading = {}, {}
local function add(field, n, successes)
  for id in string.gmatch(redis.call('HGET', run, field) or '', '%S+') do
    local state = string.match(redis.call('HGET', experiences, id) or '', '^%d+|%d+|(%a+)|')
    if state and counts(id, state) then
      local counters = {0, 0, 0, 0, 0, 0, 0, 0}
      counters[n] = before and 0 or 1
      counters[successes] = score - (before or 0)
      local list = (state == 'active' and not before) and fading or plain
      list[#list + 1] = {id, counters}
    end
  end
end
add('seen', 1, 2)
add('withheld', 3, 4)
redis.call('PEXPIRE', voices, ttl)
carry(uncommitted, add_usage(experiences, usage, plain, 1))
carry(uncommitted, add_usage(experiences, usage, fading, kept))
redis.call('HSET', run, 'score', ARGV[2], 'skipped', before and redis.call('HGET', run, 'skipped') or names)
return before and 'corrected' or 'credited'
