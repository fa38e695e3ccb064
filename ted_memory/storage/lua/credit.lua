-- Add to the usage of experiences that still exist, once for each token.
-- KEYS: experiences, usage, applied
-- ARGV: ttl (milliseconds that the token is kept), additions (JSON: list of {id, counters})
-- Returns 1 when it took effect, 0 when the token was used before
local experiences, usage, applied = unpack(KEYS)
local ttl, additions = ARGV[1], cjson.decode(ARGV[2])

if not redis.call('SET', applied, '1', 'NX', 'PX', ttl) then
  redis.call('PEXPIRE', applied, ttl)
  return 0
end
for _, addition in ipairs(additions) do
  local id, counters = addition[1], addition[2]
  if redis.call('HEXISTS', experiences, id) == 1 then
    local i = 0
    for known in string.gmatch(redis.call('HGET', usage, id) or '', '[^|]+') do
      i = i + 1
      if counters[i] then counters[i] = counters[i] + tonumber(known) end
    end
    for j, value in ipairs(counters) do counters[j] = string.format('%.17g', value) end
    redis.call('HSET', usage, id, table.concat(counters, '|'))
  end
end
return 1
