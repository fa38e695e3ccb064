-- Replace one entry of the log and what its token answers, if the entry still is what the caller saw: for purge.
-- KEYS: log, applied
-- ARGV: version, old entry, new entry, new answer ('' for none)
-- Returns 1, or 0 when somebody else was faster
local log, applied = unpack(KEYS)
local version, old, new, answer = unpack(ARGV)

if redis.call('HGET', log, version) ~= old then return 0 end
redis.call('HSET', log, version, new)
if answer ~= '' and redis.call('EXISTS', applied) == 1 then redis.call('SET', applied, answer, 'KEEPTTL') end
return 1
