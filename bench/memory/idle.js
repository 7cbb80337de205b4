// What an idle connection takes that has been used before. The slope between two counts is taken, with all of them
// kept: what the process needs once (code, a young generation that has grown) is in both.

import { settled } from './settle.js'

/** Connections being opened at a time. */
const AT_A_TIME = 50
/** Commands of each, so that no buffer is still to be made. */
const COMMANDS = 3
/** Before the count, in parts of it. */
const WARM_UP = 0.5

/** @returns {Promise<{ rss: number, heap: number, held: number }>} bytes for each connection */
export async function measureIdle(open, { connections }) {
  const kept = []
  const add = async (count) => {
    const until = kept.length + count
    const one = async () => {
      while (kept.length < until) {
        const place = kept.push(undefined) - 1
        const client = await open()
        for (let i = 0; i < COMMANDS; i += 1) await client.get('k16')
        kept[place] = client
      }
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, one))
  }
  await add(Math.ceil(connections * WARM_UP))
  const before = await settled()
  await add(connections)
  const after = await settled()
  const each = (figure) => (after[figure] - before[figure]) / connections
  return { rss: each('rss'), heap: each('heap'), held: each('held') }
}
