-- Keep what is said of a run, wake its episode, and count its score for the lessons that the run had seen or missed.
-- Begins with usage.lua, episodes.lua and evidence.lua.
-- KEYS: run, waiting, uncommitted, experiences, usage, rate, evidence
-- ARGV: feedback (JSON; '' for none), score ('' for none), principal (who says it; '' for the run's), first (1: only where
--       nothing was counted yet), rate_limit, ttl, rate_ttl (milliseconds), kept (share of older usage of an active lesson),
--       anonymous (the name of whoever has none), early_ttl (where the run is not known yet), reviewer (1: may speak of
--       others' runs)
-- Returns one of the words of episodes.Verdict
local run, waiting, uncommitted, experiences, usage, rate, evidence = unpack(KEYS)
local feedback, score, speaker, first = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local rate_limit, ttl, rate_ttl = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local kept, anonymous, early_ttl, reviewer = tonumber(ARGV[8]), ARGV[9], ARGV[10], ARGV[11] == '1'
local COIN, UNCOUNTED = 0.5, '='
local RULES = {strict = 0, quick = -0.1} -- the live lift that a trial refutes: experience.trials

-- sent once more since the reply was lost: it has its time in it, so nobody says the same twice by chance
local function slot(number) return 'f' .. number % 20 end -- the latest twenty are kept
local told = tonumber(redis.call('HGET', run, 'told') or 0)
local is_new = feedback ~= '' and redis.call('HGET', run, slot(told)) ~= feedback
if is_new then
  local said = redis.call('HINCRBY', rate, 'o:' .. speaker, 1)
  redis.call('PEXPIRE', rate, rate_ttl)
  if said > rate_limit then return 'limited' end
end
local owner = redis.call('HGET', run, 'principal') or anonymous
local is_named = speaker ~= '' and speaker ~= anonymous
-- else anybody who gets hold of a run's id could shape lessons in its principal's name
if is_named and owner ~= anonymous and speaker ~= owner and not reviewer then return 'foreign' end
if is_new then
  redis.call('HSET', run, 'told', told + 1, slot(told + 1), feedback)
  redis.call('PEXPIRE', run, redis.call('HEXISTS', run, 'seq') == 1 and ttl or early_ttl)
end
local seq = redis.call('HGET', run, 'seq')
if not seq then return 'unknown' end
-- a second word on it changes nothing: it keeps its place in the queue
if feedback ~= '' and redis.call('ZSCORE', waiting, seq) then
  redis.call('ZADD', waiting, 'LT', now_ms() - TOLD_FIRST, seq)
end
if not score then return 'kept' end
local before = tonumber(redis.call('HGET', run, 'score'))
if before and (first or before == score) then return 'repeated' end

local of_run = redis.call('HMGET', run, 'principal', 'seen', 'withheld', 'version', 'withhold', 'counted', 'unit')
local version, withhold, unit = tonumber(of_run[4] or 0), tonumber(of_run[5] or 0), of_run[7]
-- Who speaks of another's run speaks for himself. Where he corrects what another one had said, the difference is his: he
-- could choose whose word to take away, and what he chose to leave would look like the word of all others.
local voice = is_named and speaker or of_run[1]
local counted, now_counted = {}, {}
for id, rev, guess, begun in string.gmatch(of_run[6] or '', '(%S+) (%S+) (%S+) (%S+)\n') do
  counted[id] = {rev = rev, guess = tonumber(guess), begun = begun}
end

-- Count an outcome on trial, or what a correction changes.
local function on_trial(id, trial, shown, guess)
  local refuted = RULES[trial.rule or 'strict']
  local live, harms = live_steps(score, shown, COIN, guess, trial.bet, refuted)
  local old_live, old_harms = 0, {0, 0, 0}
  if before then old_live, old_harms = live_steps(before, shown, COIN, guess, trial.bet, refuted) end
  each_voice_and_all(evidence, id, voice, function(sums)
    sums[OUTCOMES], sums[SCORE] = sums[OUTCOMES] + (before and 0 or 1), sums[SCORE] + (score - (before or 0))
    sums[LIVE] = sums[LIVE] + (live - old_live)
    for i, step in ipairs(harms) do sums[HARMS + i - 1] = sums[HARMS + i - 1] + (step - old_harms[i]) end
  end)
end

-- Count an outcome of an active lesson. Return how often it was begun anew then.
local function when_active(id, shown, guess, begun)
  local _, steps = live_steps(score, shown, 1 - withhold, guess, 0, 0)
  if not before then
    local now = watch(evidence, id, voice, steps)
    return string.format('%d,%d,%d', now[1], now[2], now[3])
  end
  local _, old = live_steps(before, shown, 1 - withhold, guess, 0, 0)
  local begun_then = {}
  for number in string.gmatch(begun, '%d+') do begun_then[#begun_then + 1] = tonumber(number) end
  correct_watched(evidence, id, voice, old, steps, begun_then)
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
      local trial = cjson.decode(body).trial
      local is_tried = state == 'trial' and type(trial) == 'table' and tonumber(trial.bet)
      if begun ~= UNCOUNTED and (is_tried or (state == 'active' and withhold > 0)) then
        -- the coin fell once for the whole conversation: its later outcomes are no bets of their own
        if not known and unit and is_listed(evidence, id .. ' units', unit) then
          begun = UNCOUNTED
        else
          if unit then add_to_list(evidence, id .. ' units', unit) end
          if is_tried then on_trial(id, trial, shown, guess) else begun = when_active(id, shown, guess, begun) end
        end
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
redis.call('HSET', run, 'score', ARGV[2], 'counted', table.concat(now_counted))
return before and 'corrected' or 'credited'
