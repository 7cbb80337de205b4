// The clients, each behind the same few words. Options are the documented ones; `tuned` rows say which.

/** @typedef {{ host: string, port: number }} Where */

/** @type {Record<string, { runtime?: 'bun', open: (where: Where) => Promise<any> }>} */
export const clients = {
  respool: { open: openRespool },
  ioredis: { open: (where) => openIoredis(where, 'ioredis', {}) },
  'ioredis-auto': { open: (where) => openIoredis(where, 'ioredis', { enableAutoPipelining: true }) },
  'node-redis': { open: (where) => openNodeRedis(where, {}) },
  'node-redis-notimeout': {
    open: (where) => openNodeRedis(where, { commandOptions: { timeout: undefined } }),
  },
  iovalkey: { open: (where) => openIoredis(where, 'iovalkey', {}) },
  glide: { open: openGlide },
  bun: { runtime: 'bun', open: openBun },
}

async function openRespool({ host, port }) {
  const { connect } = await import('../dist/lib/index.js')
  const onPush = { listener: undefined }
  const c = await connect({ host, port, onPush: (push) => onPush.listener?.(push) })
  const bytes = { replies: 'buffer' }
  return {
    get: (key) => c.call('GET', key),
    getBuffer: (key) => c.execute(['GET', key], bytes),
    set: (key, value) => c.call('SET', key, value),
    incr: (key) => c.call('INCR', key),
    mget: (keys) => c.execute(['MGET', ...keys]),
    lrange: (key, from, to) => c.call('LRANGE', key, from, to),
    hgetall: (key) => c.call('HGETALL', key),
    pipeline: (key, count) => {
      const replies = new Array(count)
      for (let i = 0; i < count; i += 1) replies[i] = c.call('GET', key)
      return Promise.all(replies)
    },
    subscribe: async (channel, listener) => {
      onPush.listener = ([, , message]) => listener(message)
      await c.call('SUBSCRIBE', channel)
    },
    close: () => c.close(),
  }
}

async function openIoredis({ host, port }, name, options) {
  const { Redis } = await import(name)
  const c = new Redis({ host, port, ...options })
  await c.ping()
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => c.getBuffer(key),
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mget(keys),
    lrange: (key, from, to) => c.lrange(key, from, to),
    hgetall: (key) => c.hgetall(key),
    pipeline: (key, count) => {
      const p = c.pipeline()
      for (let i = 0; i < count; i += 1) p.get(key)
      return p.exec()
    },
    subscribe: async (channel, listener) => {
      c.on('message', (_, message) => listener(message))
      await c.subscribe(channel)
    },
    close: () => c.quit(),
  }
}

async function openNodeRedis({ host, port }, options) {
  const { createClient, RESP_TYPES } = await import('redis')
  const c = createClient({ socket: { host, port }, ...options })
  await c.connect()
  const bytes = c.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => bytes.get(key),
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mGet(keys),
    lrange: (key, from, to) => c.lRange(key, from, to),
    hgetall: (key) => c.hGetAll(key),
    pipeline: (key, count) => {
      const m = c.multi()
      for (let i = 0; i < count; i += 1) m.get(key)
      return m.execAsPipeline()
    },
    subscribe: (channel, listener) => c.subscribe(channel, listener),
    close: () => c.close(),
  }
}

async function openGlide({ host, port }) {
  const { Batch, Decoder, GlideClient } = await import('@valkey/valkey-glide')
  let listener
  const options = {
    addresses: [{ host, port }],
    requestTimeout: 5_000,
    pubsubSubscriptions: {
      channelsAndPatterns: { 0: new Set(['news']) },
      callback: ({ message }) => listener?.(message),
    },
  }
  const c = await GlideClient.createClient(options)
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => c.get(key, { decoder: Decoder.Bytes }),
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mget(keys),
    lrange: (key, from, to) => c.lrange(key, from, to),
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

async function openBun({ host, port }) {
  const { RedisClient } = await import('bun')
  const c = new RedisClient(`redis://${host}:${port}`)
  await c.connect()
  return {
    get: (key) => c.get(key),
    getBuffer: (key) => c.getBuffer(key),
    set: (key, value) => c.set(key, value),
    incr: (key) => c.incr(key),
    mget: (keys) => c.mget(...keys),
    lrange: (key, from, to) => c.send('LRANGE', [key, String(from), String(to)]),
    hgetall: (key) => c.hgetall(key),
    pipeline: (key, count) => {
      const replies = new Array(count)
      for (let i = 0; i < count; i += 1) replies[i] = c.get(key)
      return Promise.all(replies)
    },
    subscribe: (channel, listener) => c.subscribe(channel, (message) => listener(message)),
    close: async () => c.close(),
  }
}
