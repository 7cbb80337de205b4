// ioredis, and iovalkey, which is a fork of it.

export async function openIoredis({ ca, ...where }, name, options) {
  const { Redis } = await import(name)
  const c = new Redis({ ...where, ...(ca === undefined ? {} : { tls: { ca } }), ...options })
  await c.ping()
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => c.getBuffer(key),
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mget(keys),
    lrange: (key, from, to) => c.lrange(key, from, to),
    smembers: (key) => c.smembers(key),
    hgetall: (key) => c.hgetall(key),
    pipeline: (key, count) => {
      const p = c.pipeline()
      for (let i = 0; i < count; i += 1) p.get(key)
      return p.exec()
    },
    subscribe: async (channel, onMessage) => {
      c.on('message', (_, message) => onMessage(message))
      await c.subscribe(channel)
    },
    close: () => c.quit(),
  }
}
