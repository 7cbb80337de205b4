// Faults of the network between the members and the client.

import { request } from '../../support/real-servers.ts'
import type { Scenario } from '../scenario.ts'
import type { Stage } from '../stage.ts'

/** How long a partition lasts after the announcement. */
const SPLIT_MS = 4_000

/** Everybody but the master. */
function rest(stage: Stage) {
  return stage.members.filter((member) => member !== stage.master)
}

export const partitionMaster: Scenario = {
  name: 'partition-master',
  about: 'the master and the client are cut off from all others until 4 s after the announcement',
  isProxied: true,
  act: async (stage) => {
    const old = stage.master
    stage.fault()
    stage.network.partition([old, 'others'], rest(stage))
    await stage.announced()
    await stage.pause(SPLIT_MS)
    stage.reachable()
    stage.network.heal()
    await stage.demoted(old)
  },
}

export const partitionBetween: Scenario = {
  name: 'partition-between',
  about: 'the master is cut off from all others for as long, but the client reaches both sides',
  isProxied: true,
  act: async (stage) => {
    const old = stage.master
    stage.fault()
    stage.network.partition([old], rest(stage))
    await stage.announced()
    await stage.pause(SPLIT_MS)
    stage.network.heal()
    await stage.demoted(old)
  },
}

export const isolateMaster: Scenario = {
  name: 'isolate-master',
  about: 'the master is cut off from all others and from the client for as long',
  isProxied: true,
  act: async (stage) => {
    const old = stage.master
    stage.fault()
    stage.network.partition([old], [...rest(stage), 'others'])
    await stage.announced()
    await stage.pause(SPLIT_MS)
    stage.network.heal()
    await stage.demoted(old)
  },
}

export const halfopenMaster: Scenario = {
  name: 'halfopen-master',
  about: 'what the client’s open connections to the master carry is thrown away; new ones work',
  isProxied: true,
  act: async (stage) => {
    stage.fault({ isHalfOpen: true })
    const isClient = (host: string) => host === '127.0.0.1'
    stage.network.proxyOf(stage.master).treatOpen('drop', isClient)
    // it is well all the while
    await request(stage.master, 'PING')
  },
  lingerMs: 4_000,
}
