-- Add to the usage of experiences that still exist, once for each token. Begins with usage.lua.
-- KEYS: experiences, usage, credited
-- ARGV: ttl (milliseconds that the token is kept), additions (JSON: list of {id, counters})
-- Returns 1 when it took effect, 0 when the token was used before
local experiences, usage, credited = unpack(KEYS)
local ttl, additions = ARGV[1], cjson.decode(ARGV[2])

if not redis.call('SET', credited, '1', 'NX', 'PX', ttl) then
  redis.call('PEXPIRE', credited, ttl)
  return 0
end
add_usage(experiences, usage, additions)
return 1
