// @ts-check
/**
 * A consumer of a stream: every entry is handled at least once, whatever becomes of the consumers. One that died leaves
 * entries that it has not acknowledged; the others take them over after a while.
 */
import { createClient } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')
const [stream, group] = ['orders', 'billing']

/** @param {string} name @param {(order: import('respool').Hash<string>) => Promise<boolean>} handle false: it was the last */
async function consume(name, handle) {
  await redis.xgroupCreate(stream, group, '0', 'MKSTREAM').catch((error) => {
    if (error.prefix !== 'BUSYGROUP') throw error // it is there
  })
  const block = /** @type {const} */ (['COUNT', 10, 'BLOCK', 1_000])
  for (;;) {
    const [, abandoned] = await redis.xautoclaim(stream, group, name, 100, '0') // nobody's for 100 ms
    const read = await redis.xreadgroup('GROUP', group, name, ...block, 'STREAMS', stream, '>')
    for (const { id, fields } of [...abandoned, ...(read?.[0]?.entries ?? [])]) {
      const goesOn = fields === null || (await handle(fields)) // null: it was deleted meanwhile
      await redis.xack(stream, group, id)
      if (!goesOn) return
    }
  }
}

await redis.xadd(stream, '*', 'item', 'tea')
await redis.xgroupCreate(stream, group, '0')
await redis.xreadgroup('GROUP', group, 'dead', 'STREAMS', stream, '>') // and this one never acknowledges
await redis.xadd(stream, '*', 'item', 'milk')
await redis.xadd(stream, '*', 'item', 'end')
/** @type {(string | undefined)[]} */
const items = []
await consume('one', async ({ item }) => items.push(item) < 3)
console.log(`handled: ${items.sort().join(', ')}`)
await redis.close()
