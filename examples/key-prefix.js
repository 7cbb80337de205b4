// @ts-check
/** A prefix for keys. It is not an option, because which arguments are keys differs from command to command: ten lines. */
import { createClient } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')

/** @param {string} prefix */
const prefixed = (prefix) => ({
  get: (/** @type {string} */ key) => redis.get(prefix + key),
  set: (/** @type {string} */ key, /** @type {string} */ value) => redis.set(prefix + key, value),
  del: (/** @type {string[]} */ ...keys) => redis.del(...keys.map((key) => prefix + key)),
  async *keys() {
    for await (const key of redis.scanIterator({ match: `${prefix}*` })) yield key.slice(prefix.length)
  },
})

const users = prefixed('shop:user:')
await users.set('ada', 'Ada')
for await (const key of users.keys()) console.log(`${key} is ${await users.get(key)}`)
console.log(`in the server: ${await redis.keys('shop:*')}`)
await redis.close()
