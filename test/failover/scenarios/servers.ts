// Faults of other servers than the master, and of all of them.

import type { TestServer } from '../../support/real-servers.ts'
import type { Scenario } from '../scenario.ts'

export const killReplica: Scenario = {
  name: 'kill-replica',
  about: 'SIGKILL of a replica that serves reads',
  act: async (stage) => {
    stage.fault()
    await (stage.topology.replicas[0] as TestServer).stop('SIGKILL')
  },
  lingerMs: 3_000,
}

export const blackout: Scenario = {
  name: 'blackout-2s',
  about: 'every server and every sentinel is stopped for 2 s',
  act: async (stage) => {
    stage.fault()
    for (const member of stage.members) member.signal('SIGSTOP')
    await stage.pause(2_000)
    for (const member of stage.members) member.signal('SIGCONT')
  },
  // the sentinels may yet find that there was something to do
  lingerMs: 5_000,
}
