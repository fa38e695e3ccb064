-- Hold a lease, or hold it longer, unless somebody else does. One millisecond lets go of it.
-- KEYS: lease
-- ARGV: holder, ttl (milliseconds)
-- Returns 1 when the holder has it, 0 when another one has
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
