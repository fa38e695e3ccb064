-- Replace entries of the log, each if it still is what the caller saw: for purge.
-- KEYS: log
-- ARGV: version, old entry, new entry (of each)
-- Returns the versions of those for which somebody else was faster
local log, faster = KEYS[1], {}
for i = 1, #ARGV, 3 do
  local version, old, new = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('HGET', log, version) == old then
    redis.call('HSET', log, version, new)
  else
    faster[#faster + 1] = tonumber(version)
  end
end
return faster
