// One client and one measurement in a process of its own: what is asked comes as an argument, what was found goes
// out as a line of JSON.

import { clients } from '../clients/index.js'
import { dial, exchange } from '../raw.js'
import { measureIdle } from './idle.js'
import { measureKept } from './kept.js'
import { measureLoad } from './load.js'
import { measurePeak } from './peak.js'

const measurements = { idle: measureIdle, load: measureLoad, peak: measurePeak, kept: measureKept }

/** @type {{ client: string, where: import('../clients/index.js').Where, builds: any, measurement: string, options: any }} */
const { client, where, builds, measurement, options } = JSON.parse(process.argv[2])
const { open = openRaw } = clients[client]
const found = await measurements[measurement](() => open(where, { builds }), options)
console.log(JSON.stringify(found))
process.exit(0)

/** A bare socket in the words of a client, as far as they are needed here. */
async function openRaw(to) {
  const socket = await dial(to)
  return { get: (key) => exchange(socket, ['GET', key]) }
}
