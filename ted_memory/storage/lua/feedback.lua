-- Keep what is said of a run, wake its episode, and count its score for the lessons that the run had seen or missed.
-- Begins with usage.lua, episodes.lua and evidence.lua.
-- KEYS: run, waiting, uncommitted, experiences, usage, rate, evidence
-- ARGV: feedback (JSON; '' for none), score ('' for none), principal (who says it; '' for none), first (1: only where
--       nothing was counted yet), rate_limit, ttl, rate_ttl (milliseconds), kept (share of older usage of an active lesson),
--       anonymous (the name of whoever has none)
-- Returns one of the words of episodes.Verdict
local run, waiting, uncommitted, experiences, usage, rate, evidence = unpack(KEYS)
local feedback, score, speaker, first = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local rate_limit, ttl, rate_ttl = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local kept, anonymous = tonumber(ARGV[8]), ARGV[9]
local COIN = 0.5
local RULES = {strict = 0, quick = -0.1} -- the live lift that a trial refutes: experience.trials

if feedback ~= '' then
  local said = redis.call('HINCRBY', rate, 'o:' .. speaker, 1)
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

local of_run = redis.call('HMGET', run, 'principal', 'seen', 'withheld', 'version', 'withhold', 'counted', 'voice')
local version, withhold = tonumber(of_run[4] or 0), tonumber(of_run[5] or 0)
-- who speaks of another's run speaks for himself, also where he corrects what another one had said
local voice = (speaker ~= '' and speaker ~= anonymous) and speaker or of_run[1]
local voice_before = of_run[7]
local counted, now_counted = {}, {}
for id, rev, guess, begun in string.gmatch(of_run[6] or '', '(%S+) (%S+) (%S+) (%S+)\n') do
  counted[id] = {rev = rev, guess = tonumber(guess), begun = begun}
end

-- Count an outcome on trial; a score that is corrected takes its old factors back.
local function on_trial(id, trial, shown, guess)
  local function add(y, principal, sign)
    local live, harms = live_steps(y, shown, COIN, guess, trial.bet, RULES[trial.rule or 'strict'])
    each_voice_and_all(evidence, id, principal, function(sums)
      sums[OUTCOMES], sums[SCORE] = sums[OUTCOMES] + sign, sums[SCORE] + sign * y
      sums[LIVE] = sums[LIVE] + sign * live
      for i, step in ipairs(harms) do sums[HARMS + i - 1] = sums[HARMS + i - 1] + sign * step end
    end)
  end
  if before then add(before, voice_before, -1) end
  add(score, voice, 1)
end

-- Count an outcome of an active lesson. Return how often it was begun anew then, '-' where it counts nothing.
local function when_active(id, shown, guess, begun)
  if withhold <= 0 then return '-' end
  local _, steps = live_steps(score, shown, 1 - withhold, guess, 0, 0)
  if not before then
    local now = watch(evidence, id, voice, steps)
    return string.format('%d,%d,%d', now[1], now[2], now[3])
  end
  local _, old = live_steps(before, shown, 1 - withhold, guess, 0, 0)
  local begun_then = {}
  for number in string.gmatch(begun, '%d+') do begun_then[#begun_then + 1] = tonumber(number) end
  correct_watched(evidence, id, voice_before, voice, old, steps, begun_then)
  return begun
end

local plain, fading = {}, {}
local function count(ids, shown, n, successes)
  for id in string.gmatch(ids or '', '%S+') do
    local raw = redis.call('HGET', experiences, id) or ''
    local rev, state, body = string.match(raw, '^(%d+)|%d+|(%a+)|%d+|(.*)$')
    local known = counted[id]
    -- an outcome belongs to what its run was assigned under: once the lesson has moved on, it is too late
    local open = rev and (before and known and known.rev == rev or not before and (version == 0 or tonumber(rev) <= version))
    if open and (state == 'trial' or state == 'active') then
      local guess, begun = known and known.guess or guess_of(sums_of(evidence, id)), known and known.begun or '-'
      if state == 'active' then
        begun = when_active(id, shown, guess, begun)
      else
        local trial = cjson.decode(body).trial
        if type(trial) == 'table' and tonumber(trial.bet) then on_trial(id, trial, shown, guess) end
      end
      now_counted[#now_counted + 1] = string.format('%s %s %.17g %s\n', id, rev, guess, begun)
      local counters = {0, 0, 0, 0, 0, 0, 0, 0}
      counters[n] = before and 0 or 1
      counters[successes] = score - (before or 0)
      local list = (state == 'active' and not before) and fading or plain
      list[#list + 1] = {id, counters}
    end
  end
end
count(of_run[2], true, 1, 2)
count(of_run[3], false, 3, 4)
carry(uncommitted, add_usage(experiences, usage, plain, 1))
carry(uncommitted, add_usage(experiences, usage, fading, kept))
redis.call('HSET', run, 'score', ARGV[2], 'counted', table.concat(now_counted), 'voice', voice)
return before and 'corrected' or 'credited'
