-- tag, receipt, lease (ms), the model's lock (empty: none), seconds that it is kept: whether it is still ours.
local tag, receipt, lease, lock, kept = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local taken = held(tag, receipt)
if not taken then return 0 end
local at = now()
redis.call('ZADD', 'trainyard:leases', at + lease, tag)
redis.call('ZADD', 'unacked_index', at / 1000, tag)
if lock ~= '' and redis.call('GET', lock) == taken.run then redis.call('EXPIRE', lock, kept) end
return 1
