// @ts-check
/**
 * A rate limiter by script: so many calls in any window of so many milliseconds, for each name. Looking and counting are
 * one step on the server, by the server's clock, so that any number of processes share it.
 */
import { createClient } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')

const take = redis.script({
  lua: `
    local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
    if redis.call('ZCARD', KEYS[1]) >= limit then
      local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
      return oldest[2] + window - now
    end
    redis.call('ZADD', KEYS[1], now, time[1] .. time[2])
    redis.call('PEXPIRE', KEYS[1], window)
    return 0`,
  keys: 1,
  parse: Number,
})

/** @param {string} name @returns milliseconds to wait; 0: go ahead */
const waitFor = (name) => take([`limit:${name}`], [5, 60_000])

let refused = 0
for (let call = 0; call < 8; call += 1) {
  const ms = await waitFor('ada')
  if (ms > 0) refused += 1
}
console.log(`8 calls, ${refused} refused`)
await redis.close()
