-- trainings a minute (0 is no limit), queues...: in how many ms something can be taken (0 is now, -1 when nobody knows), and
-- whether something waits for its turn alone.
local rate = tonumber(ARGV[1])
local at = now()
local next = -1
local function by(time)
    local left = math.max(0, math.ceil(time - at))
    if next < 0 or left < next then next = left end
end
local serves = {}
for i = 2, #ARGV do serves[ARGV[i]] = true end
local delayed = redis.call('ZRANGE', 'trainyard:delayed', 0, 0, 'WITHSCORES')
if delayed[2] then by(tonumber(delayed[2])) end
for _, tag in ipairs(redis.call('ZRANGE', 'trainyard:leases', '-inf', at, 'BYSCORE')) do
    local taken = redis.call('HGET', 'trainyard:taken', tag)
    if taken and serves[cjson.decode(taken).queue] then by(at) end
end
local soonest = redis.call('ZRANGE', 'trainyard:leases', '(' .. at, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
if soonest[2] then by(tonumber(soonest[2])) end
local limited = 0
for i = 2, #ARGV do
    for _, step in ipairs(STEPS) do
        local text = redis.call('LINDEX', list(ARGV[i], step), -1)
        if text then
            local message = rate > 0 and read(text)
            if message and message.headers.task == 'app.tasks.ai.train_model' then
                local bucket = redis.call('HMGET', 'trainyard:rate', 'tokens', 'at')
                local tokens = tonumber(bucket[1]) or rate
                local since = tonumber(bucket[2]) or at
                by(since + math.max(0, 1 - tokens) * 60000 / rate)
                limited = 1
            else
                by(at)
            end
        end
    end
end
return {next, limited}
