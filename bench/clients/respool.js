// respool, from the compiled files in a folder, so that two builds of it can be measured beside each other. The
// shapes of its replies are its own: HGETALL gives a Map and SMEMBERS a Set where the others give objects and arrays.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Of the process's only subscriber: a closure for each connection would count as the library's memory. */
let listener
const onPush = ([, , message]) => listener?.(message)

const bytes = { replies: 'buffer' }

export async function openRespool({ ca, ...where }, build, options = {}) {
  const { connect } = await import(pathToFileURL(join(build, 'lib', 'index.js')).href)
  const tls = ca === undefined ? undefined : { ca }
  const c = await connect({ ...where, ...options, tls, onPush })
  return {
    get: (key) => c.call('GET', key),
    getBuffer: (key) => c.execute(['GET', key], bytes),
    set: (key, value) => c.call('SET', key, value),
    incr: (key) => c.call('INCR', key),
    mget: (keys) => c.execute(['MGET', ...keys]),
    lrange: (key, from, to) => c.call('LRANGE', key, from, to),
    smembers: (key) => c.call('SMEMBERS', key),
    hgetall: (key) => c.call('HGETALL', key),
    pipeline: (key, count) => (c.executeAll === undefined ? one(c, key, count) : all(c, key, count)),
    subscribe: async (channel, onMessage) => {
      listener = onMessage
      await c.call('SUBSCRIBE', channel)
    },
    close: () => c.close(),
  }
}

function all(c, key, count) {
  const commands = new Array(count)
  for (let i = 0; i < count; i += 1) commands[i] = ['GET', key]
  return c.executeAll(commands)
}

/** The way of builds before `executeAll`. */
function one(c, key, count) {
  const replies = new Array(count)
  for (let i = 0; i < count; i += 1) replies[i] = c.call('GET', key)
  return Promise.all(replies)
}
