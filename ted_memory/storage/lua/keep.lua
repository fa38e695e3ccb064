-- Keep one record of a run, and with it all of the run's records for a while longer.
-- KEYS: progress
-- ARGV: key, record (JSON), ttl (seconds)
-- Returns 1
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('EXPIRE', KEYS[1], ARGV[3])
