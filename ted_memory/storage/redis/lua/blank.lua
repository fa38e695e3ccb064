-- Replace one entry of the log, if it still is what the caller saw: for purge.
-- KEYS: log
-- ARGV: version, old entry, new entry
-- Returns 1, or 0 when somebody else was faster
local version, old, new = unpack(ARGV)

if redis.call('HGET', KEYS[1], version) ~= old then return 0 end
redis.call('HSET', KEYS[1], version, new)
return 1
