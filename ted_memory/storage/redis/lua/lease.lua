-- Hold a lease, or hold it longer, unless somebody else does. A time of 0 lets go of it.
-- KEYS: lease
-- ARGV: holder, ttl (milliseconds)
-- Returns 1 when the holder has it (or had it, and let go), 0 when another one has
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('PEXPIRE', KEYS[1], 0)
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
