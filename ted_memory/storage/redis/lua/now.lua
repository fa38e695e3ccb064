-- Tell the time.
-- KEYS: traffic (any key of the namespace: it says which node is asked)
-- Returns the server's time in seconds
return redis.call('TIME')[1]
