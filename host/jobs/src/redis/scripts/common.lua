-- What all scripts share. Keys without `trainyard:` are those of kombu's Redis transport, and mean the same there:
--   QUEUE, QUEUE\6\22STEP   lists of messages by priority: put in at the left, taken at the right
--   unacked                 messages that some worker has, by delivery tag: [message, exchange, routing key]
--   unacked_index           their tags by the time (s) that they were taken, or last renewed by us: Celery gives one that
--                           is older than its visibility timeout to another worker
-- The original's:
--   ai:training:lock:MODEL  the run that trains the model, for an hour from when it was last renewed
-- Ours:
--   trainyard:queues        names of queues
--   trainyard:tasks         delivery tags by run, of runs that wait or are taken
--   trainyard:taken         by delivery tag, of what our workers have: receipt, worker, queue, run as JSON
--   trainyard:leases        their tags by the time (ms) at which the lease ends
--   trainyard:deliveries    by run, how often it was taken
--   trainyard:delayed       messages by the time (ms) at which they are due
--   trainyard:dead          what was given up, newest first
--   trainyard:revoked       the last runs that were revoked and not found, by when (ms)
--   trainyard:rate          the token bucket of trainings: tokens, and the time (ms) of their count
local SEPARATOR = '\6\22'
local STEPS = {0, 3, 6, 9}

local function now()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The list of a queue and a priority.
local function list(queue, priority)
    local step = 0
    for _, candidate in ipairs(STEPS) do
        if candidate <= (tonumber(priority) or 0) then step = candidate end
    end
    if step == 0 then return queue end
    return queue .. SEPARATOR .. step
end

-- A message's queue and priority.
local function place(message)
    local properties = message.properties
    return properties.delivery_info.routing_key, properties.priority
end

-- A message as an object, if it is one.
local function read(text)
    local good, message = pcall(cjson.decode, text)
    if good and type(message) == 'table' and type(message.headers) == 'table' and type(message.headers.id) == 'string'
        and type(message.properties) == 'table' and type(message.properties.delivery_tag) == 'string' then
        return message
    end
end

-- What our workers know of a delivery, if the receipt is its own.
local function held(tag, receipt)
    local taken = redis.call('HGET', 'trainyard:taken', tag)
    if not taken then return nil end
    taken = cjson.decode(taken)
    -- Celery may have given it to another worker: then ours is no more than a memory.
    if taken.receipt == receipt and redis.call('HEXISTS', 'unacked', tag) == 1 then return taken end
end

-- Nobody has it any more.
local function let_go(tag)
    redis.call('HDEL', 'unacked', tag)
    redis.call('ZREM', 'unacked_index', tag)
    redis.call('HDEL', 'trainyard:taken', tag)
    redis.call('ZREM', 'trainyard:leases', tag)
end

-- Nothing is left to do for it.
local function forget(tag, run)
    let_go(tag)
    redis.call('HDEL', 'trainyard:tasks', run)
    redis.call('HDEL', 'trainyard:deliveries', run)
end

-- Only the owner of a model's lock takes it away.
local function unlock(key, run)
    if key ~= '' and redis.call('GET', key) == run then redis.call('DEL', key) end
end
