-- run: whether it was there, and nobody had it.
local REVOKED = 10000
local run = ARGV[1]
local tag = redis.call('HGET', 'trainyard:tasks', run)
if tag then
    local ends = redis.call('ZSCORE', 'trainyard:leases', tag)
    if ends and tonumber(ends) > now() then return 0 end
    if ends then
        forget(tag, run)
        return 1
    end
end
local function is_it(text)
    if not text:find(run, 1, true) then return false end
    local message = read(text)
    return message and message.headers.id == run
end
for _, queue in ipairs(redis.call('SMEMBERS', 'trainyard:queues')) do
    for _, step in ipairs(STEPS) do
        local key = list(queue, step)
        for _, text in ipairs(redis.call('LRANGE', key, 0, -1)) do
            if is_it(text) then
                redis.call('LREM', key, 1, text)
                forget(read(text).properties.delivery_tag, run)
                return 1
            end
        end
    end
end
for _, text in ipairs(redis.call('ZRANGE', 'trainyard:delayed', 0, -1)) do
    if is_it(text) then
        redis.call('ZREM', 'trainyard:delayed', text)
        forget(read(text).properties.delivery_tag, run)
        return 1
    end
end
-- It may lie in a queue that nobody here has heard of, and be taken one day.
redis.call('ZADD', 'trainyard:revoked', now(), run)
redis.call('ZREMRANGEBYRANK', 'trainyard:revoked', 0, -REVOKED - 1)
return 0
