-- tag, receipt, due (ms; 0 is at once), the model's lock (empty: none), trainings a minute if it is a training (or else 0):
-- whether it was still ours.
local tag, receipt, due, lock, rate = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local taken = held(tag, receipt)
if not taken then return 0 end
local entry = redis.call('HGET', 'unacked', tag)
local parts = cjson.decode(entry)
-- The message's own text, and not what comes of reading and writing it again.
local ending = ', ' .. cjson.encode(parts[2]) .. ', ' .. cjson.encode(parts[3]) .. ']'
local text = entry:sub(2, -1 - #ending)
let_go(tag)
unlock(lock, taken.run)
if rate > 0 then
    -- Taking it again takes another.
    local tokens = tonumber(redis.call('HGET', 'trainyard:rate', 'tokens')) or rate
    redis.call('HSET', 'trainyard:rate', 'tokens', math.min(rate, tokens + 1))
end
if due > now() then
    redis.call('ZADD', 'trainyard:delayed', due, text)
else
    redis.call('RPUSH', list(taken.queue, parts[1].properties.priority), text)
end
redis.call('PUBLISH', 'trainyard:waiting', taken.queue)
return 1
