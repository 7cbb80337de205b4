// GLIDE. It has no unix sockets; its default time limit of 250 ms is too short for a client that shares a core; and
// its channels are named when it connects.

/** Of the process's only subscriber. */
let listener

export async function openGlide({ host, port, ca }, { channel }) {
  const { Batch, Decoder, GlideClient } = await import('@valkey/valkey-glide')
  const options = { addresses: [{ host, port }], requestTimeout: 5_000 }
  if (ca !== undefined) {
    // it takes no certificate that is its own authority
    options.useTLS = true
    options.advancedConfiguration = { tlsAdvancedConfiguration: { insecure: true } }
  }
  if (channel !== undefined) {
    options.pubsubSubscriptions = {
      channelsAndPatterns: { 0: new Set([channel]) },
      callback: ({ message }) => listener?.(message),
    }
  }
  const c = await GlideClient.createClient(options)
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => c.get(key, { decoder: Decoder.Bytes }),
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mget(keys),
    lrange: (key, from, to) => c.lrange(key, from, to),
    smembers: (key) => c.smembers(key),
    hgetall: (key) => c.hgetall(key),
    pipeline: (key, count) => {
      const batch = new Batch(false)
      for (let i = 0; i < count; i += 1) batch.get(key)
      return c.exec(batch, true)
    },
    subscribe: async (_, onMessage) => {
      listener = onMessage
    },
    close: async () => c.close(),
  }
}
