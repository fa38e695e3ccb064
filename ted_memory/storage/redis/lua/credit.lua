-- Add to the usage of experiences that still exist, once for each token. Begins with usage.lua.
-- KEYS: uncommitted, experiences, usage, credited
-- ARGV: ttl (milliseconds that the token is kept), additions (JSON: list of {id, counters}), kept (share of older usage),
--       ends (milliseconds after which a staging set's usage ends; 0: it stays)
-- Returns 1 when it took effect, 0 when the token was used before
local uncommitted, experiences, usage, credited = unpack(KEYS)
local ttl, additions, kept, ends = ARGV[1], cjson.decode(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

if not redis.call('SET', credited, '1', 'NX', 'PX', ttl) then
  redis.call('PEXPIRE', credited, ttl)
  return 0
end
carry(uncommitted, add_usage(experiences, usage, additions, kept))
if ends ~= '0' then
  redis.call('PEXPIRE', uncommitted, ends)
  redis.call('PEXPIRE', usage, ends)
end
return 1
