-- Jobs that wait, those of dead workers with them, and jobs that are taken.
local at = now()
local waiting = redis.call('ZCARD', 'trainyard:delayed') + redis.call('ZCOUNT', 'trainyard:leases', '-inf', at)
for _, queue in ipairs(redis.call('SMEMBERS', 'trainyard:queues')) do
    for _, step in ipairs(STEPS) do
        waiting = waiting + redis.call('LLEN', list(queue, step))
    end
end
return {waiting, redis.call('ZCOUNT', 'trainyard:leases', '(' .. at, '+inf')}
