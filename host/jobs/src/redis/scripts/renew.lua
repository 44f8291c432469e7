-- tag, receipt, lease (ms): whether it is still ours.
local tag, receipt, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not held(tag, receipt) then return 0 end
local at = now()
redis.call('ZADD', 'trainyard:leases', at + lease, tag)
redis.call('ZADD', 'unacked_index', at / 1000, tag)
return 1
