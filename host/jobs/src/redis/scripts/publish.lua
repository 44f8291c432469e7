-- model, whether it is a line of the log, the entry as JSON without its first `{` and number: the number.
-- Keys of a model:
--   ai:training:logs:MODEL    its last lines, oldest first, as the original's clients read them
--   trainyard:feed:MODEL      its last other events, oldest first
--   trainyard:feed:MODEL:is   last: the newest number; logs, others: the highest number that is no longer in the list; life:
--                             grows when it is forgotten
local model, log, rest = ARGV[1], ARGV[2] == '1', ARGV[3]
local MOST, KEPT = {logs = 1000, others = 2000}, 3600
local is = 'trainyard:feed:' .. model .. ':is'
local time = redis.call('TIME')
-- Numbers begin with the time in microseconds, so that they grow even if Redis loses them.
local number = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = tonumber(redis.call('HGET', is, 'last'))
if not last then
    local before = string.format('%.0f', number - 1)
    redis.call('HSET', is, 'logs', before, 'others', before)
elseif last >= number then
    number = last + 1
end
local kind = log and 'logs' or 'others'
local key = log and 'ai:training:logs:' .. model or 'trainyard:feed:' .. model
local text = string.format('%.0f', number)
redis.call('HSET', is, 'last', text)
if redis.call('RPUSH', key, '{"number":' .. text .. ',' .. rest) > MOST[kind] then
    local oldest = redis.call('LPOP', key)
    redis.call('HSET', is, kind, oldest:match('^{"number":(%d+)'))
end
for _, each in ipairs({is, 'ai:training:logs:' .. model, 'trainyard:feed:' .. model}) do
    redis.call('EXPIRE', each, KEPT)
end
redis.call('PUBLISH', 'trainyard:feed', model)
return text
