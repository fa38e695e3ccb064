-- KEYS: any of the namespace's, which says which node is asked
-- Returns the server's time in seconds
return redis.call('TIME')[1]
