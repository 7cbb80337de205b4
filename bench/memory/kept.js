// What a reply that the user keeps keeps alive with it: a string that was cut out of another, or bytes that are a
// view of a receive buffer, hold more than themselves. Of every so many replies one is kept, so that few of those that
// are kept share what they hold.

import { settled } from './settle.js'

const KEPT = 4_000
/** One reply in so many; arrays of 1,000 are that large themselves. */
const OF_EVERY = { string: 64, bytes: 64, element: 8 }
const IN_FLIGHT = 100
const WARM_UP = 1_000
/** A cell of the array that keeps them. */
const CELL_BYTES = 8

/** @returns {Promise<{ kept: number }>} bytes held for each reply that is kept */
export async function measureKept(open, { of }) {
  const client = await open()
  const [kind] = of.split('-')
  const source = {
    string: () => client.get(of),
    bytes: () => client.getBuffer(of),
    element: async () => (await client.lrange(of, 0, -1))[500],
  }[kind]
  await keep(source, WARM_UP, OF_EVERY[kind])
  const before = await settled()
  const kept = await keep(source, KEPT, OF_EVERY[kind])
  const after = await settled()
  if (kept.length !== KEPT) throw new Error(`${kept.length} replies were kept, not ${KEPT}`)
  return { kept: (after.held - before.held) / KEPT - CELL_BYTES }
}

async function keep(source, count, ofEvery) {
  // its last size at once: an array that grows has spare room, which would count
  const kept = new Array(count)
  let next = 0
  const loop = async () => {
    while (next < count * ofEvery) {
      const place = next
      next += 1
      const reply = await source()
      if (place % ofEvery === 0) kept[place / ofEvery] = reply
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop))
  return kept
}

/** The keys that are to be there, each named after its kind and its bytes. */
export const keptKeys = ['string-17', 'string-100', 'bytes-17', 'bytes-100', 'element-17', 'element-100']

export async function prepareKept(admin) {
  for (const key of keptKeys) {
    const [kind, bytes] = key.split('-')
    const value = 'x'.repeat(Number(bytes))
    await admin('DEL', key)
    if (kind === 'element') await admin('RPUSH', key, ...new Array(1000).fill(value))
    else await admin('SET', key, value)
  }
}
