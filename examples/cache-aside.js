// @ts-check
/**
 * Cache-aside with a lock: what is not in the cache is loaded once, however many ask for it at the same time. The lock ends
 * by itself if its owner dies, and only its owner takes it away.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')
const unlock = redis.script({
  lua: `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`,
  keys: 1,
})

/** @param {string} key @param {() => Promise<string>} load */
async function cached(key, load) {
  const token = randomUUID()
  for (;;) {
    const found = await redis.get(key)
    if (found !== null) return found
    if (await redis.set(`${key}:lock`, token, 'PX', 5_000, 'NX')) break
    await sleep(20) // somebody else is loading it
  }
  try {
    const value = (await redis.get(key)) ?? (await load()) // it may have come just before the lock
    await redis.set(key, value, 'EX', 60)
    return value
  } finally {
    await unlock([`${key}:lock`], [token])
  }
}

let loads = 0
const load = () => sleep(50, `report ${++loads}`) // what is slow
const values = await Promise.all(Array.from({ length: 100 }, () => cached('report', load)))
console.log(`${values.length} callers, ${loads} load: ${values[0]}`)
await redis.close()
