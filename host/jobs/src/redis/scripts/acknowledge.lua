-- tag, receipt, number of this database, number of the results' database, key of the result, result (empty: none), seconds
-- that it is kept: whether it was still ours. Result and acknowledgement are one step.
local tag, receipt, here, there, key, result, kept = unpack(ARGV)
local taken = held(tag, receipt)
if not taken then return 0 end
forget(tag, taken.run)
if result ~= '' then
    redis.call('SELECT', there)
    redis.call('SET', key, result, 'EX', kept)
    redis.call('PUBLISH', key, result)
    redis.call('SELECT', here)
end
return 1
