-- Take episodes out of the archive.
-- KEYS: archive, archived, traffic
-- ARGV: seqs
-- Returns how many there were
local archive, archived, traffic = unpack(KEYS)
local gone = 0

for _, seq in ipairs(ARGV) do
  local size = redis.call('HSTRLEN', archive, seq)
  if size > 0 then
    redis.call('HDEL', archive, seq)
    redis.call('ZREM', archived, seq)
    redis.call('HINCRBY', traffic, 'archive_bytes', -size)
    gone = gone + 1
  end
end
return gone
