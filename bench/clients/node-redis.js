// node-redis.

/** Without a listener an error event ends the process. */
const onError = (error) => console.error(error.message)

export async function openNodeRedis({ ca, ...where }, options) {
  const { createClient, RESP_TYPES } = await import('redis')
  const socket = ca === undefined ? where : { ...where, tls: true, ca }
  const c = createClient({ socket, ...options })
  c.on('error', onError)
  await c.connect()
  let bytes
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => {
      bytes ??= c.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
      return bytes.get(key)
    },
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mGet(keys),
    lrange: (key, from, to) => c.lRange(key, from, to),
    smembers: (key) => c.sMembers(key),
    hgetall: (key) => c.hGetAll(key),
    pipeline: (key, count) => {
      const m = c.multi()
      for (let i = 0; i < count; i += 1) m.get(key)
      return m.execAsPipeline()
    },
    subscribe: (channel, onMessage) => c.subscribe(channel, onMessage),
    close: () => c.close(),
  }
}
