-- tag, receipt, number of this database, number of the results' database, key of the result, result (empty: none), seconds
-- that it is kept, the model's lock (empty: none), dead letter (empty: none), how many of those are kept: whether it was still
-- ours. Result and acknowledgement are one step.
local tag, receipt, here, there, key, result, kept, lock, letter, most = unpack(ARGV)
local taken = held(tag, receipt)
if not taken then return 0 end
forget(tag, taken.run)
unlock(lock, taken.run)
if letter ~= '' then
    redis.call('LPUSH', 'trainyard:dead', letter)
    redis.call('LTRIM', 'trainyard:dead', 0, tonumber(most) - 1)
end
if result ~= '' then
    redis.call('SELECT', there)
    redis.call('SET', key, result, 'EX', kept)
    redis.call('PUBLISH', key, result)
    redis.call('SELECT', here)
end
return 1
