// @ts-check
/**
 * A worker with BLMOVE: a job is in one of two lists until it is done, so that none is lost with a worker. On SIGTERM, or
 * when it is told to stop, it finishes the job at hand.
 */
import { createClient } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')
const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())

/** @param {string} name of the worker: the same after a restart @param {(job: string) => Promise<void>} run */
async function work(name, run) {
  const doing = `jobs:doing:${name}`
  while (await redis.lmove(doing, 'jobs', 'RIGHT', 'LEFT')); // what the last one had begun
  const waiting = redis.with({ signal: stopping.signal }) // only the wait ends early
  while (!stopping.signal.aborted) {
    try {
      const job = await waiting.blmove('jobs', doing, 'LEFT', 'RIGHT', 0)
      if (job === null) continue
      await run(job)
      await redis.lrem(doing, 1, job)
    } catch (error) {
      if (!stopping.signal.aborted) throw error
    }
  }
}

await redis.rpush('jobs:doing:one', 'left behind')
await redis.rpush('jobs', 'first', 'second')
/** @type {string[]} */
const done = []
await work('one', async (job) => {
  done.push(job)
  if (done.length === 3) stopping.abort()
})
console.log(`done: ${done.join(', ')}; left: ${await redis.llen('jobs:doing:one')}`)
await redis.close()
