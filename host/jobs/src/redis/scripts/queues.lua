-- By queue: jobs that wait, those of dead workers with them, and jobs that are taken; as JSON.
local at = now()
local queues = {}

local function queue(name)
    if not queues[name] then queues[name] = {queue = name, waiting = 0, taken = 0} end
    return queues[name]
end

for _, name in ipairs(redis.call('SMEMBERS', 'trainyard:queues')) do
    for _, step in ipairs(STEPS) do
        queue(name).waiting = queue(name).waiting + redis.call('LLEN', list(name, step))
    end
end
for _, text in ipairs(redis.call('ZRANGE', 'trainyard:delayed', 0, -1)) do
    local name = place(cjson.decode(text))
    queue(name).waiting = queue(name).waiting + 1
end
local leases = redis.call('ZRANGE', 'trainyard:leases', 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
    local taken = redis.call('HGET', 'trainyard:taken', leases[i])
    if taken then
        local own = queue(cjson.decode(taken).queue)
        local field = tonumber(leases[i + 1]) > at and 'taken' or 'waiting'
        own[field] = own[field] + 1
    end
end

local all = {}
for _, one in pairs(queues) do all[#all + 1] = one end
if #all == 0 then return '[]' end
return cjson.encode(all)
