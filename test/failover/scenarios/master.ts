// Faults of the master itself.

import { request, type TestServer } from '../../support/real-servers.ts'
import type { Scenario } from '../scenario.ts'
import type { Stage } from '../stage.ts'

/** After the announcement; by then every client has gone elsewhere, or never will. */
const WAKE_UP_MS = 5_500
const SHORT_WAKE_UP_MS = 1_500

export const killMaster: Scenario = {
  name: 'kill-master',
  about: 'SIGKILL of the master',
  act: async (stage) => {
    stage.fault()
    await stage.master.stop('SIGKILL')
    await stage.announced()
  },
}

export const stopMaster: Scenario = {
  name: 'stop-master',
  about: 'SIGSTOP of the master; SIGCONT 5.5 s after the announcement',
  act: async (stage) => {
    const old = stage.master
    stage.fault()
    old.signal('SIGSTOP')
    await stage.announced()
    await stage.pause(stage.isShort ? SHORT_WAKE_UP_MS : WAKE_UP_MS)
    old.signal('SIGCONT')
    await isReplica(stage, old)
  },
}

export const shutdownMaster: Scenario = {
  name: 'shutdown-master',
  about: 'SHUTDOWN of the master',
  act: async (stage) => {
    stage.fault()
    // it ends instead of answering, or waits for its replicas for longer than an answer may take
    await request(stage.master, 'SHUTDOWN', 'NOSAVE').catch(() => undefined)
    await stage.announced()
  },
}

export const plannedFailover: Scenario = {
  name: 'planned-failover',
  about: '`SENTINEL FAILOVER`, the master healthy',
  act: async (stage) => {
    const old = stage.master
    await failover(stage)
    stage.fault()
    await stage.announced()
    await isReplica(stage, old)
  },
}

export const restartMaster: Scenario = {
  name: 'restart-master',
  about: 'SIGKILL of the master, which is back before Sentinel calls it down',
  // it must come back with its data
  topology: { args: ['--appendonly', 'yes'] },
  act: async (stage) => {
    stage.fault()
    await stage.master.stop('SIGKILL')
    await stage.master.restart()
  },
  lingerMs: 4_000,
}

export const twoFailovers: Scenario = {
  name: 'two-failovers',
  about: 'SIGKILL of the master; `SENTINEL FAILOVER` of the new one as soon as that has settled',
  act: async (stage) => {
    await killMaster.act(stage)
    await stage.allAnnounced()
    await stage.client.flows()
    await failover(stage)
    stage.fault()
    await stage.announced()
  },
  lingerMs: 5_000,
}

/** Asks for it until there is a replica that will do: the last switch may be too young. */
async function failover(stage: Stage): Promise<void> {
  const [sentinel] = stage.topology.sentinels
  for (let attempt = 0; ; attempt++) {
    const reply = await request(sentinel as TestServer, 'SENTINEL', 'FAILOVER', stage.topology.name)
    if (reply === 'OK') return
    if (attempt === 100) throw new Error(`SENTINEL FAILOVER gave ${reply}`)
    await stage.pause(50)
  }
}

/** A master that was replaced takes writes for ten seconds more: none may go there. */
async function isReplica(stage: Stage, old: TestServer): Promise<void> {
  if (!stage.isShort) await stage.demoted(old)
}
