-- Add to the counters of one day.
-- KEYS: spend
-- ARGV: ttl (milliseconds), then name and number of each counter
-- Returns 1
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
