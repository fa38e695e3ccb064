-- Keep one record of a run, and with it all that the run has for a while longer: also what one leaves that is never taken
-- up again comes to an end.
-- KEYS: progress (the first one; what else a staging set may have follows)
-- ARGV: key, record (JSON), ttl (seconds)
-- Returns how many keys there are
local kept = 0
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
for _, name in ipairs(KEYS) do kept = kept + redis.call('EXPIRE', name, ARGV[3]) end
return kept
