-- worker, receipt, lease (ms), trainings a minute (0 is no limit), queues...: message, deliveries of its run (0 of one
-- that was revoked); or nothing.
-- Taking, leasing and counting are one step, so that whoever dies in between cannot lose a job.
local worker, receipt, lease, rate = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = now()
local serves = {}
for i = 5, #ARGV do serves[ARGV[i]] = true end

for _, text in ipairs(redis.call('ZRANGE', 'trainyard:delayed', '-inf', at, 'BYSCORE', 'LIMIT', 0, 100)) do
    redis.call('ZREM', 'trainyard:delayed', text)
    redis.call('LPUSH', list(place(cjson.decode(text))), text)
end

local function hand_over(tag, run, queue)
    local taken = cjson.encode({receipt = receipt, worker = worker, queue = queue, run = run})
    redis.call('HSET', 'trainyard:taken', tag, taken)
    redis.call('ZADD', 'trainyard:leases', at + lease, tag)
    redis.call('ZADD', 'unacked_index', at / 1000, tag)
    return redis.call('HINCRBY', 'trainyard:deliveries', run, 1)
end

-- What a dead worker had comes first.
for _, tag in ipairs(redis.call('ZRANGE', 'trainyard:leases', '-inf', at, 'BYSCORE')) do
    local taken, entry = redis.call('HGET', 'trainyard:taken', tag), redis.call('HGET', 'unacked', tag)
    if not taken or not entry then
        -- Celery gave it to another worker, which has it or has done it.
        redis.call('HDEL', 'trainyard:taken', tag)
        redis.call('ZREM', 'trainyard:leases', tag)
    else
        taken = cjson.decode(taken)
        if serves[taken.queue] then
            return {entry, hand_over(tag, taken.run, taken.queue)}
        end
    end
end

local tokens = 1
if rate > 0 then
    local bucket = redis.call('HMGET', 'trainyard:rate', 'tokens', 'at')
    tokens = math.min(rate, (tonumber(bucket[1]) or rate) + (at - (tonumber(bucket[2]) or at)) * rate / 60000)
end

for _, step in ipairs(STEPS) do
    for i = 5, #ARGV do
        local queue = ARGV[i]
        local key = list(queue, step)
        local text = redis.call('LINDEX', key, -1)
        while text do
            local message = read(text)
            if message then
                local limited = rate > 0 and message.headers.task == 'app.tasks.ai.train_model'
                if limited and tokens < 1 then break end
                if limited then redis.call('HSET', 'trainyard:rate', 'tokens', tokens - 1, 'at', at) end
                redis.call('RPOP', key)
                local tag, run = message.properties.delivery_tag, message.headers.id
                local exchange, route = '', queue
                if type(message.properties.delivery_info) == 'table' then
                    exchange = message.properties.delivery_info.exchange or exchange
                    route = message.properties.delivery_info.routing_key or route
                end
                local entry = '[' .. text .. ', ' .. cjson.encode(exchange) .. ', ' .. cjson.encode(route) .. ']'
                redis.call('HSET', 'unacked', tag, entry)
                redis.call('HSET', 'trainyard:tasks', run, tag)
                local deliveries = hand_over(tag, run, queue)
                if redis.call('ZREM', 'trainyard:revoked', run) == 1 then deliveries = 0 end
                return {entry, deliveries}
            end
            -- No message of Celery's: out of the way, and kept for whoever looks for it.
            redis.call('RPOP', key)
            redis.call('LPUSH', 'trainyard:unreadable', text)
            redis.call('LTRIM', 'trainyard:unreadable', 0, 999)
            text = redis.call('LINDEX', key, -1)
        end
    end
end
return nil
