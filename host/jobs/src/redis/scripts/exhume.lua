-- run: its dead letter, which is one no more.
for _, text in ipairs(redis.call('LRANGE', 'trainyard:dead', 0, -1)) do
    if cjson.decode(text).job.run == ARGV[1] then
        redis.call('LREM', 'trainyard:dead', 1, text)
        return text
    end
end
return nil
