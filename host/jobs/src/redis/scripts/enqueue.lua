-- run, tag, queue, priority, message, due (ms; 0 is at once): whether it was new.
local run, tag, queue, priority, message, due = unpack(ARGV)
if redis.call('HSETNX', 'trainyard:tasks', run, tag) == 0 then return 0 end
redis.call('SADD', 'trainyard:queues', queue)
if tonumber(due) > now() then
    redis.call('ZADD', 'trainyard:delayed', due, message)
else
    redis.call('LPUSH', list(queue, priority), message)
end
redis.call('PUBLISH', 'trainyard:waiting', queue)
return 1
