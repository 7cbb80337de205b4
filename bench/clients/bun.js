// The client that is built into Bun. It pipelines by itself and has no explicit pipeline.

export async function openBun({ host, port, path, ca }) {
  const { RedisClient } = await import('bun')
  const scheme = ca === undefined ? 'redis' : 'rediss'
  const url = path === undefined ? `${scheme}://${host}:${port}` : `redis+unix://${path}`
  const c = new RedisClient(url, ca === undefined ? {} : { tls: { ca } })
  await c.connect()
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => c.getBuffer(key),
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mget(...keys),
    lrange: (key, from, to) => c.send('LRANGE', [key, String(from), String(to)]),
    smembers: (key) => c.smembers(key),
    hgetall: (key) => c.hgetall(key),
    pipeline: (key, count) => {
      const replies = new Array(count)
      for (let i = 0; i < count; i += 1) replies[i] = c.get(key)
      return Promise.all(replies)
    },
    subscribe: (channel, onMessage) => c.subscribe(channel, (message) => onMessage(message)),
    close: async () => c.close(),
  }
}
