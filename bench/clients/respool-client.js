// respool's client: what people use, beside the bare connection of respool.js that it stands on. The shapes of its
// replies are those of the others: HGETALL gives an object.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** @param {boolean} [isTyped] by `redis.get(key)`, else by `redis.call('GET', key)` */
export async function openClient({ ca, sentinel, ...where }, build, isTyped = true) {
  const { createClient } = await import(pathToFileURL(join(build, 'lib', 'index.js')).href)
  const tls = ca === undefined ? undefined : { ca }
  const c = createClient(sentinel === undefined ? { ...where, tls } : { sentinel })
  await c.ready()
  return {
    ...(isTyped ? typed(c) : called(c)),
    subscribe: (channel, onMessage) => c.subscribe(channel, onMessage),
    close: () => c.close(),
  }
}

function typed(c) {
  const bytes = c.with({ replies: 'buffer' })
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => bytes.get(key),
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mget(...keys),
    lrange: (key, from, to) => c.lrange(key, from, to),
    smembers: (key) => c.smembers(key),
    hgetall: (key) => c.hgetall(key),
    pipeline: (key, count) => inOne(c, key, count),
  }
}

function called(c) {
  const bytes = c.with({ replies: 'buffer' })
  return {
    get: (key) => c.call('GET', key),
    getBuffer: (key) => bytes.call('GET', key),
    set: (key, value) => c.call('SET', key, value),
    incr: (key) => c.call('INCR', key),
    mget: (keys) => c.call('MGET', ...keys),
    lrange: (key, from, to) => c.call('LRANGE', key, from, to),
    smembers: (key) => c.call('SMEMBERS', key),
    hgetall: (key) => c.call('HGETALL', key),
    pipeline: (key, count) => together(c, key, count),
  }
}

function inOne(c, key, count) {
  const p = c.pipeline()
  for (let i = 0; i < count; i += 1) p.get(key)
  return p.exec()
}

/** Without a pipeline: all commands of one tick leave in one write. */
function together(c, key, count) {
  const replies = new Array(count)
  for (let i = 0; i < count; i += 1) replies[i] = c.get(key)
  return Promise.all(replies)
}
