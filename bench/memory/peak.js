// How far the process grows while one large value arrives. In a process of its own: what an earlier value left
// behind would be used again.

import { readFileSync, writeFileSync } from 'node:fs'
import { settled } from './settle.js'

const WARM_UP = 200

/** @returns {Promise<{ peak: number }>} bytes above the start, the value itself among them, by bytes of the value */
export async function measurePeak(open, { bytes, as }) {
  const client = await open()
  const read = as === 'bytes' ? client.getBuffer : client.get
  for (let i = 0; i < WARM_UP; i += 1) await read('k16')
  const { rss } = await settled()
  forgetPeak()
  const value = await read('large')
  const peak = readPeak() - rss
  if (value.length !== bytes) throw new Error(`${value.length} bytes came, ${bytes} were expected`)
  return { peak: peak / bytes }
}

/** Where the system can: the start of a process may have needed more than it has now. */
function forgetPeak() {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    // not of Linux: then it counts what the start needed, too
  }
}

function readPeak() {
  try {
    const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))
    return Number(kilobytes) * 1024
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}
