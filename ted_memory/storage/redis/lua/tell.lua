-- Tell those who listen of what is no commit: that a set was dropped.
-- KEYS: meta (for its slot)
-- ARGV: channel, message (epoch and version, as commit.lua says them)
-- Returns how many were told, or 0 where the user may not publish.
local told = redis.pcall('SPUBLISH', ARGV[1], ARGV[2])
return type(told) == 'number' and told or 0
