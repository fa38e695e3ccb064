-- Count a pair of answers to an archived episode, with a lesson and without it; once for each lesson and episode.
-- Begins with episodes.lua and evidence.lua.
-- KEYS: evidence, experiences, archive
-- ARGV: id, since (version that the lesson was read at), seq (of the archived episode), principal (whose word it rests
--       on), with, without (mean scores), from (an active lesson is watched on later episodes), rests (1: the answers
--       rest on recorded results of tools)
-- Returns "counted"; "repeated": it was counted before; "changed": the lesson has changed or gone since, or the episode
local evidence, experiences, archive = unpack(KEYS)
local id, since, seq, principal = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local with, without = tonumber(ARGV[5]), tonumber(ARGV[6])

local rev, state = string.match(redis.call('HGET', experiences, id) or '', '^(%d+)|%d+|(%a+)|')
if not rev or tonumber(rev) > since or redis.call('HEXISTS', archive, seq) == 0 then return 'changed' end
if is_done(evidence, id, seq) then return 'repeated' end
add_to_done(evidence, id, seq)

local difference = with - without
if state == 'active' then
  local steps = {}
  for i, bet in ipairs(BETS) do steps[i] = math.log(1 - bet * difference) end
  redis.call('HSETNX', evidence, id .. ' from', ARGV[7])
  watch(evidence, id, principal, steps)
elseif ARGV[8] == '1' and difference == 0 then
  each_voice_and_all(evidence, id, principal, function(sums) sums[SILENT] = sums[SILENT] + 1 end)
else
  each_voice_and_all(evidence, id, principal, function(sums)
    sums[PAIRS], sums[WITH], sums[WITHOUT] = sums[PAIRS] + 1, sums[WITH] + with, sums[WITHOUT] + without
    for i, bet in ipairs(BETS) do
      local at = i - 1
      sums[HELPS + at] = sums[HELPS + at] + math.log(1 + bet * difference)
      sums[USELESS + at] = sums[USELESS + at] + math.log(1 - bet * (difference - WORTH) / (1 - WORTH))
    end
  end)
end
return 'counted'
