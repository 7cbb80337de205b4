// The topology as it was last told. Another is told when it says something else; what is measured comes and goes all
// the time, which is no news, but whoever asks gets it as it is now.

import type { Topology } from './topology.ts'

export class TopologyNews {
  readonly #take: () => Topology
  readonly #tell: (topology: Topology) => void
  #last: Topology
  /** When what it says of replicas was measured. */
  #measuredAt = 0

  /**
   * @param take makes the topology as it is now
   * @param tell must not throw
   */
  constructor(take: () => Topology, tell: (topology: Topology) => void) {
    this.#take = take
    this.#tell = tell
    this.#last = take()
  }

  /** @param measuredAt when replicas were measured the last time */
  latest(measuredAt: number): Topology {
    if (measuredAt > this.#measuredAt) {
      this.#measuredAt = measuredAt
      this.#last = this.#take()
    }
    return this.#last
  }

  /** Something may have changed. */
  publish(): void {
    const topology = this.#take()
    if (JSON.stringify(topology, unmeasured) === JSON.stringify(this.#last, unmeasured)) return
    this.#last = topology
    this.#tell(topology)
  }
}

function unmeasured(key: string, value: unknown): unknown {
  return key === 'lag' || key === 'latency' ? undefined : value
}
