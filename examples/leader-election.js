// @ts-check
/**
 * Leader election: of many processes one holds a lock that it renews, and the others take it when it is let go or runs
 * out. A leader that was stopped for longer than that is one no more, so it looks before it acts. Replication is
 * asynchronous: after a failover two may believe to lead until the next renewal.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')
const lockMs = 1_000
const ifMine = (/** @type {string} */ command) =>
  redis.script({
    lua: `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call(${command})`,
    keys: 1,
    parse: (reply) => reply === 1,
  })
const renew = ifMine(`'PEXPIRE', KEYS[1], ARGV[2]`)
const resign = ifMine(`'DEL', KEYS[1]`)

/** @param {string} name @param {(leads: () => boolean) => Promise<void>} lead */
async function campaign(name, lead) {
  while (!(await redis.set('leader', name, 'PX', lockMs, 'NX'))) await sleep(lockMs / 10)
  let until = performance.now() + lockMs
  const timer = setInterval(async () => {
    const askedAt = performance.now() // the lock ends later than this and lockMs, never earlier
    if (await renew(['leader'], [name, lockMs]).catch(() => false)) until = askedAt + lockMs
  }, lockMs / 3)
  await lead(() => performance.now() < until).finally(() => clearInterval(timer))
  await resign(['leader'], [name])
}

/** @param {string} name */
const lead = (name) => async (/** @type {() => boolean} */ leads) => {
  if (leads()) console.log(`${name} leads, the lock says ${await redis.get('leader')}`)
}
await Promise.all(['one', 'two', 'three'].map((name) => campaign(name, lead(name))))
await redis.close()
