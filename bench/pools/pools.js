// The pools, each behind the same few words: `borrow()`, `giveBack()` what was borrowed, and `get()` through it.
// Without `where` they lend things that are no connections, so that only the pool itself is measured.

import { join } from 'node:path'

export const SIZE = 10

/** @type {Record<string, { needsServer?: boolean, open: (task: any) => Promise<any> }>} */
export const pools = {
  respool: { open: (task) => openRespool(task, task.builds.own) },
  'respool-lazy': { needsServer: true, open: (task) => openLazy(task, task.builds.own) },
  'respool-other': { open: (task) => openRespool(task, task.builds.other) },
  'node-redis': { needsServer: true, open: ({ where }) => openNodeRedis(where, {}) },
  'node-redis-notimeout': {
    needsServer: true,
    open: ({ where }) => openNodeRedis(where, { commandOptions: { timeout: undefined } }),
  },
  'generic-pool': { open: openGeneric },
  tarn: { open: openTarn },
  'lightning-pool': { open: openLightning },
}

async function openRespool({ where }, build) {
  const { connect, Pool } = await import(join(build, 'lib', 'index.js'))
  const pool = new Pool({
    dial: (signal) => (where === undefined ? nothing() : connect({ ...where, signal })),
    maxIdle: SIZE,
    maxActive: SIZE,
    wait: true,
  })
  return {
    borrow: () => pool.get(),
    giveBack: (lease) => lease.close(),
    get: (lease) => lease.call('GET', 'k16'),
  }
}

/** The same with permits instead of connections: their commands share one. */
async function openLazy({ where }, build) {
  const { createClient } = await import(join(build, 'lib', 'index.js'))
  const client = createClient({ ...where, pool: { maxIdle: SIZE, maxActive: SIZE, wait: true } })
  await client.ready()
  return {
    borrow: () => client.lease({ lazy: true }),
    giveBack: (lease) => lease.close(),
    get: (lease) => lease.call('GET', 'k16'),
  }
}

/** What respool's pool takes for a connection. */
async function nothing() {
  return {
    error: undefined,
    pendingCount: 0,
    onPush: undefined,
    closed: new Promise(() => undefined),
    execute: async () => null,
    call: async () => null,
    close: async () => undefined,
    destroy: () => undefined,
  }
}

async function openNodeRedis({ host, port }, options) {
  const { createClientPool } = await import('redis')
  const pool = createClientPool({ socket: { host, port }, ...options }, { minimum: SIZE, maximum: SIZE })
  await pool.connect()
  return { use: () => pool.execute((client) => client.get('k16')) }
}

async function openIoredis({ host, port }) {
  const { Redis } = await import('ioredis')
  const client = new Redis({ host, port })
  await client.ping()
  return client
}

async function openGeneric({ where }) {
  const { default: generic } = await import('generic-pool')
  const pool = generic.createPool(
    {
      create: () => (where === undefined ? nothing() : openIoredis(where)),
      destroy: async (client) => client.disconnect?.(),
    },
    { min: SIZE, max: SIZE },
  )
  return {
    borrow: () => pool.acquire(),
    giveBack: (client) => pool.release(client),
    get: (client) => client.get('k16'),
  }
}

async function openTarn({ where }) {
  const { Pool } = await import('tarn')
  const pool = new Pool({
    create: () => (where === undefined ? nothing() : openIoredis(where)),
    destroy: (client) => client.disconnect?.(),
    min: SIZE,
    max: SIZE,
  })
  return {
    borrow: () => pool.acquire().promise,
    giveBack: (client) => pool.release(client),
    get: (client) => client.get('k16'),
  }
}

async function openLightning({ where }) {
  const { Pool } = await import('lightning-pool')
  const pool = new Pool(
    {
      create: () => (where === undefined ? nothing() : openIoredis(where)),
      destroy: async (client) => client.disconnect?.(),
      reset: async () => undefined,
      validate: async () => undefined,
    },
    { min: SIZE, max: SIZE, minIdle: SIZE, resetOnReturn: false, validation: false },
  )
  pool.start()
  return {
    borrow: () => pool.acquire(),
    giveBack: (client) => pool.release(client),
    get: (client) => client.get('k16'),
  }
}
