-- lock, run, seconds: whether the model's lock is the run's from now on, or was.
local key, run, seconds = ARGV[1], ARGV[2], ARGV[3]
if redis.call('SET', key, run, 'NX', 'EX', seconds) then return 1 end
if redis.call('GET', key) ~= run then return 0 end
redis.call('EXPIRE', key, seconds)
return 1
