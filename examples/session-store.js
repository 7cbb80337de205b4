// @ts-check
/**
 * Sessions of users in a deployment with replicas. Reads go to replicas, and a user sees their own changes all the same:
 * the token of the last write travels in a cookie. It holds no data.
 */
import { randomUUID } from 'node:crypto'
import { createClient } from 'respool'

const local = 'redis+sentinel://127.0.0.1:26379/localmaster?readFrom=prefer-replica'
const redis = createClient(process.env.RESPOOL_URL ?? local)

/** What a browser keeps. @typedef {{ id: string, token?: string | undefined }} Cookie */

/** @param {Cookie} cookie a request's @returns what answers it */
function open({ id, token }) {
  const session = redis.session({ after: token })
  const key = `session:${id}`
  return {
    load: () => session.hgetall(key),
    /** @param {Record<string, string>} changes @returns {Promise<Cookie>} the next cookie */
    async save(changes) {
      const chain = session.multi().hset(key, ...Object.entries(changes).flat())
      await chain.expire(key, 3_600).exec()
      return { id, token: session.token }
    },
  }
}

/** @type {Cookie} */
let cookie = { id: randomUUID() }
let stale = 0
for (let visit = 1; visit <= 100; visit += 1) {
  cookie = await open(cookie).save({ name: 'Ada', visits: String(visit) })
  const { visits } = await open(cookie).load() // another request, perhaps in another process
  if (visits !== String(visit)) stale += 1
}
console.log(`100 visits, ${stale} of them saw an old session`)
await redis.close()
