// The work that the clients are given. Each workload prepares its keys and describes one operation; how many
// are under way at a time is part of it. Clients are told what to do in the words of clients/index.js.

const NON_ASCII = 'żółć-東京-'.repeat(5)

/**
 * @typedef {object} Workload
 * @property {string} title what it is called in documents
 * @property {import('./clients/index.js').Transport} [over] how the server is reached; tcp unless told
 * @property {number} [inFlight] operations under way at a time
 * @property {number} [count] what one operation counts for, where it is more than one command
 * @property {(admin: (...command: (string | number)[]) => Promise<unknown>) => Promise<unknown>} [prepare]
 * @property {(client: any, i: number) => Promise<unknown>} [run]
 * @property {readonly (readonly (string | number)[])[]} [raw] the commands that the raw socket repeats
 * @property {'connect' | 'subscribe'} [special]
 */

/** @type {Record<string, Workload>} */
export const workloads = {
  'seq-get': { title: 'GET 16 B, one at a time', ...get(1, 16) },
  'get16-c10': { title: 'GET 16 B, 10 in flight', ...get(10, 16) },
  'get16-c100': { title: 'GET 16 B, 100 in flight', ...get(100, 16) },
  'get16-c1000': { title: 'GET 16 B, 1,000 in flight', ...get(1000, 16) },
  'get100-c100': { title: 'GET 100 B, 100', ...get(100, 100) },
  'set16-c100': { title: 'SET 16 B, 100', ...set(100, 16) },
  'set100-c100': { title: 'SET 100 B, 100', ...set(100, 100) },
  'set100-c1000': { title: 'SET 100 B, 1,000', ...set(1000, 100) },
  'incr-c100': {
    title: 'INCR, 100',
    inFlight: 100,
    prepare: setCounter,
    run: (c) => c.incr('n'),
    raw: [['INCR', 'n']],
  },
  'mixed-c100': {
    title: '8 GET, 1 SET, 1 INCR, 100',
    inFlight: 100,
    prepare: async (admin) => {
      await setCounter(admin)
      await admin('SET', 'k16', text(16))
    },
    run: (c, i) => (i % 10 === 0 ? c.set('k16', text(16)) : i % 10 === 1 ? c.incr('n') : c.get('k16')),
    raw: [['SET', 'k16', text(16)], ['INCR', 'n'], ...Array(8).fill(['GET', 'k16'])],
  },
  'utf8-get-c100': {
    title: 'GET of non-ASCII, 100',
    inFlight: 100,
    prepare: (admin) => admin('SET', 'utf8', NON_ASCII),
    run: (c) => c.get('utf8'),
    raw: [['GET', 'utf8']],
  },
  'utf8-set-c100': {
    title: 'SET of non-ASCII, 100',
    inFlight: 100,
    run: (c) => c.set('utf8', NON_ASCII),
    raw: [['SET', 'utf8', NON_ASCII]],
  },
  pipe100: { title: 'pipeline of 100 GETs', ...pipeline(100) },
  pipe1000: { title: 'pipeline of 1,000 GETs', ...pipeline(1000) },
  'get10k-str': { title: 'GET 10 KiB as a string, 10', ...get(10, 10 * 1024) },
  'get10k-buf': { title: 'GET 10 KiB as bytes, 10', ...getBuffer(10, 10 * 1024) },
  'get1m-str': { title: 'GET 1 MiB as a string, 2', ...get(2, 1024 * 1024) },
  'get1m-buf': { title: 'GET 1 MiB as bytes, 2', ...getBuffer(2, 1024 * 1024) },
  mget100: {
    title: 'MGET of 100, 10',
    inFlight: 10,
    prepare: (admin) => admin('MSET', ...keys(100).flatMap((key) => [key, text(16)])),
    run: (c) => c.mget(keys100),
    raw: [['MGET', ...keys(100)]],
  },
  lrange1000: { title: 'LRANGE of 1,000, 4', ...list(4, 1000, (i) => `element-${i}-abcdef`) },
  lrange10k: { title: 'LRANGE of 10,000 of 8 to 10 B, 2', ...list(2, 10_000, (i) => `item-${i + 100}`) },
  'lrange1000-utf8': { title: 'LRANGE of 1,000 non-ASCII, 4', ...list(4, 1000, (i) => `żółć-東京-${i}`) },
  smembers1000: {
    title: 'SMEMBERS of 1,000, 4',
    inFlight: 4,
    prepare: (admin) => admin('SADD', 'set', ...range(1000, (i) => `member-${i}`)),
    run: (c) => c.smembers('set'),
    raw: [['SMEMBERS', 'set']],
  },
  hgetall500: {
    title: 'HGETALL of 500, 4',
    inFlight: 4,
    prepare: (admin) => admin('HSET', 'hash', ...range(500, (i) => [`field-${i}`, `value-${i}-abc`]).flat()),
    run: (c) => c.hgetall('hash'),
    raw: [['HGETALL', 'hash']],
  },
  pubsub: { title: 'Pub/Sub messages received', special: 'subscribe' },
  connect: { title: 'connections set up, one at a time', special: 'connect' },
  'unix-seq-get': { title: 'unix socket: GET 16 B, one at a time', over: 'unix', ...get(1, 16) },
  'unix-get16-c100': { title: 'unix socket: GET 16 B, 100', over: 'unix', ...get(100, 16) },
  'unix-get10k-str': { title: 'unix socket: GET 10 KiB, 10', over: 'unix', ...get(10, 10 * 1024) },
  'tls-seq-get': { title: 'TLS: GET 16 B, one at a time', over: 'tls', ...get(1, 16) },
  'tls-get16-c100': { title: 'TLS: GET 16 B, 100', over: 'tls', ...get(100, 16) },
  'tls-get10k-str': { title: 'TLS: GET 10 KiB as a string, 10', over: 'tls', ...get(10, 10 * 1024) },
  'tls-connect': { title: 'TLS: connections set up, one at a time', over: 'tls', special: 'connect' },
}

const keys100 = keys(100)

function text(bytes) {
  return 'x'.repeat(bytes)
}

function keys(count) {
  return range(count, (i) => `key:${i}`)
}

function range(count, make) {
  return Array.from({ length: count }, (_, i) => make(i))
}

/** As many digits at the end as at the beginning: the raw socket knows a reply by its length. */
function setCounter(admin) {
  return admin('SET', 'n', 100_000_000)
}

function get(inFlight, bytes) {
  const key = `k${bytes}`
  return {
    inFlight,
    prepare: (admin) => admin('SET', key, text(bytes)),
    run: (c) => c.get(key),
    raw: [['GET', key]],
  }
}

function getBuffer(inFlight, bytes) {
  return { ...get(inFlight, bytes), run: (c) => c.getBuffer(`k${bytes}`) }
}

function set(inFlight, bytes) {
  const value = text(bytes)
  return { inFlight, run: (c) => c.set('s', value), raw: [['SET', 's', value]] }
}

function pipeline(count) {
  return {
    inFlight: 1,
    count,
    prepare: (admin) => admin('SET', 'k16', text(16)),
    run: (c) => c.pipeline('k16', count),
    raw: [['GET', 'k16']],
  }
}

function list(inFlight, count, element) {
  return {
    inFlight,
    prepare: async (admin) => {
      await admin('DEL', 'list')
      await admin('RPUSH', 'list', ...range(count, element))
    },
    run: (c) => c.lrange('list', 0, -1),
    raw: [['LRANGE', 'list', 0, -1]],
  }
}
