-- Shared by commit and credit, which begin with it.
-- Counters of one experience are numbers joined by "|", in the order of models.Usage, each at most 1e12 either way: sums
-- that are no numbers any more would make the whole set unreadable.
local MOST_USAGE = 1e12

-- Add counters (list of {id, counters}) to the usage of experiences that exist; return the ids of these.
-- Of what is known of one of them, the share `kept` is left.
local function add_usage(experiences, usage, additions, kept)
  local added = {}
  for _, addition in ipairs(additions) do
    local id, counters = addition[1], addition[2]
    if redis.call('HEXISTS', experiences, id) == 1 then
      local i = 0
      for known in string.gmatch(redis.call('HGET', usage, id) or '', '[^|]+') do
        i = i + 1
        if counters[i] then counters[i] = counters[i] + tonumber(known) * kept end
      end
      for j, value in ipairs(counters) do
        counters[j] = string.format('%.17g', math.max(-MOST_USAGE, math.min(MOST_USAGE, value)))
      end
      redis.call('HSET', usage, id, table.concat(counters, '|'))
      added[#added + 1] = id
    end
  end
  return added
end

-- Have the next commit carry the usage of these ids into the ranking.
local function carry(uncommitted, added)
  for _, id in ipairs(added) do redis.call('SADD', uncommitted, id) end
end
