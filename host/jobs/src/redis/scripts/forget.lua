-- model: its events are gone, and whoever reads them ends. Numbers go on.
local model = ARGV[1]
local is = 'trainyard:feed:' .. model .. ':is'
redis.call('DEL', 'ai:training:logs:' .. model, 'trainyard:feed:' .. model)
local time = redis.call('TIME')
local number = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = string.format('%.0f', math.max(number, (tonumber(redis.call('HGET', is, 'last')) or 0) + 1))
-- Whoever comes back with an older number is told of a gap.
redis.call('HSET', is, 'last', last, 'logs', last, 'others', last)
redis.call('HINCRBY', is, 'life', 1)
redis.call('EXPIRE', is, 3600)
redis.call('PUBLISH', 'trainyard:feed', model)
return 1
