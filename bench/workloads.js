// The work that the clients are given. Each workload prepares its keys and describes one operation; how many
// are under way at a time is part of it. A client is told what to do in words that all of them have:
// get, getBuffer, set, incr, mget, lrange, hgetall, pipeline, subscribe.

const text = (bytes) => 'x'.repeat(bytes)
const NON_ASCII = 'żółć-東京-'.repeat(5)

/**
 * @typedef {object} Workload
 * @property {number} [inFlight] operations under way at a time
 * @property {number} [count] what one operation counts for, where it is more than one command
 * @property {(admin: (...args: (string | number)[]) => Promise<unknown>) => Promise<unknown>} [prepare]
 * @property {(client: any, i: number) => Promise<unknown>} [run]
 * @property {readonly (string | number)[]} [raw] the command that the raw socket repeats
 * @property {'connect' | 'subscribe'} [special]
 */

/** @type {Record<string, Workload>} */
export const workloads = {
  'seq-get': get(1, 16),
  'get16-c10': get(10, 16),
  'get16-c100': get(100, 16),
  'get16-c1000': get(1000, 16),
  'get100-c100': get(100, 100),
  'set16-c100': set(100, 16),
  'set100-c100': set(100, 100),
  'set100-c1000': set(1000, 100),
  'incr-c100': { inFlight: 100, run: (c) => c.incr('n'), raw: ['INCR', 'n'] },
  'mixed-c100': {
    inFlight: 100,
    prepare: (admin) => admin('SET', 'k16', text(16)),
    run: (c, i) => (i % 10 === 0 ? c.set('k16', text(16)) : i % 10 === 1 ? c.incr('n') : c.get('k16')),
    raw: ['GET', 'k16'],
  },
  'utf8-get-c100': {
    inFlight: 100,
    prepare: (admin) => admin('SET', 'utf8', NON_ASCII),
    run: (c) => c.get('utf8'),
    raw: ['GET', 'utf8'],
  },
  'utf8-set-c100': { inFlight: 100, run: (c) => c.set('utf8', NON_ASCII), raw: ['SET', 'utf8', NON_ASCII] },
  pipe100: pipeline(100),
  pipe1000: pipeline(1000),
  'get10k-str': get(10, 10 * 1024),
  'get10k-buf': { ...get(10, 10 * 1024), run: (c) => c.getBuffer('k10240') },
  'get1m-str': get(2, 1024 * 1024),
  'get1m-buf': { ...get(2, 1024 * 1024), run: (c) => c.getBuffer('k1048576') },
  mget100: {
    inFlight: 10,
    prepare: (admin) => admin('MSET', ...keys(100).flatMap((key) => [key, text(16)])),
    run: (c) => c.mget(keys100),
    raw: ['MGET', ...keys(100)],
  },
  lrange1000: {
    inFlight: 4,
    prepare: async (admin) => {
      await admin('DEL', 'list')
      await admin('RPUSH', 'list', ...Array.from({ length: 1000 }, (_, i) => `element-${i}-abcdef`))
    },
    run: (c) => c.lrange('list', 0, -1),
    raw: ['LRANGE', 'list', 0, -1],
  },
  hgetall500: {
    inFlight: 4,
    prepare: (admin) =>
      admin(
        'HSET',
        'hash',
        ...Array.from({ length: 500 }, (_, i) => [`field-${i}`, `value-${i}-abc`]).flat(),
      ),
    run: (c) => c.hgetall('hash'),
    raw: ['HGETALL', 'hash'],
  },
  pubsub: { special: 'subscribe' },
  connect: { special: 'connect' },
}

const keys100 = keys(100)

function keys(count) {
  return Array.from({ length: count }, (_, i) => `key:${i}`)
}

function get(inFlight, bytes) {
  return {
    inFlight,
    prepare: (admin) => admin('SET', `k${bytes}`, text(bytes)),
    run: (c) => c.get(`k${bytes}`),
    raw: ['GET', `k${bytes}`],
  }
}

function set(inFlight, bytes) {
  const value = text(bytes)
  return { inFlight, run: (c) => c.set('s', value), raw: ['SET', 's', value] }
}

function pipeline(count) {
  return {
    inFlight: 1,
    count,
    prepare: (admin) => admin('SET', 'k16', text(16)),
    run: (c) => c.pipeline('k16', count),
    raw: ['GET', 'k16'],
  }
}
