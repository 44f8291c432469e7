-- model, number, whether somebody begins to read: what comes after it of both lists, at most some hundred entries of each; then the newest number, the highest
-- numbers that are no longer there, and the life.
local model, after, begins = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local key = 'trainyard:feed:' .. model .. ':is'
if begins and redis.call('EXISTS', key) == 0 then
    -- Nothing has happened yet. What comes has higher numbers than this, and whoever begins now has missed nothing of it.
    local time = redis.call('TIME')
    local now = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
    redis.call('HSET', key, 'last', now, 'logs', now, 'others', now)
    redis.call('EXPIRE', key, 3600)
end
local is = redis.call('HMGET', key, 'last', 'logs', 'others', 'life')
local MOST = 500

local function tail(key)
    local length = redis.call('LLEN', key)
    -- The first entry after the number: most readers are at the end, so the search begins there, in longer and longer steps.
    local low, high, step = 0, length, 1
    local function number(index)
        return tonumber(redis.call('LINDEX', key, index):match('^{"number":(%d+)'))
    end
    while high > 0 do
        local index = math.max(0, length - step)
        if number(index) <= after then
            low = index + 1
            break
        end
        high = index
        step = step * 2
    end
    while low < high do
        local middle = math.floor((low + high) / 2)
        if number(middle) <= after then low = middle + 1 else high = middle end
    end
    return redis.call('LRANGE', key, low, low + MOST - 1)
end

return {tail('ai:training:logs:' .. model), tail('trainyard:feed:' .. model),
    is[1] or '0', is[2] or '0', is[3] or '0', is[4] or '0'}
