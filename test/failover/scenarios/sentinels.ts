// Faults of the sentinels while the load is on.

import { request, type TestServer } from '../../support/real-servers.ts'
import type { Scenario } from '../scenario.ts'
import { killMaster } from './master.ts'

/** Between the faults of one scenario: the first is noticed before the second. */
const BETWEEN_MS = 500

export const sentinelThenMaster: Scenario = {
  name: 'sentinel-then-master',
  about: 'SIGKILL of the first sentinel of the list, then of the master',
  act: async (stage) => {
    await (stage.topology.sentinels[0] as TestServer).stop('SIGKILL')
    await stage.pause(BETWEEN_MS)
    await killMaster.act(stage)
  },
}

export const sentinelsDown: Scenario = {
  name: 'sentinels-down',
  about: 'SIGKILL of all sentinels, the master healthy',
  act: async (stage) => {
    stage.fault()
    await Promise.all(stage.topology.sentinels.map((sentinel) => sentinel.stop('SIGKILL')))
  },
  lingerMs: 6_000,
}

export const sentinelReset: Scenario = {
  name: 'sentinel-reset',
  about: '`SENTINEL RESET` on each sentinel in turn',
  act: async (stage) => {
    stage.fault()
    for (const sentinel of stage.topology.sentinels) {
      await request(sentinel, 'SENTINEL', 'RESET', stage.topology.name)
      await stage.pause(BETWEEN_MS)
    }
  },
  lingerMs: 6_000,
}

export const oldEpoch: Scenario = {
  name: 'old-epoch',
  about:
    'a sentinel sleeps through a failover and wakes up, and the old master is back and says that it is one',
  act: async (stage) => {
    const old = stage.master
    const sleeper = stage.topology.sentinels.at(-1) as TestServer
    sleeper.signal('SIGSTOP')
    await killMaster.act(stage)
    await stage.client.flows()
    await old.restart()
    sleeper.signal('SIGCONT')
    await stage.demoted(old)
  },
}
