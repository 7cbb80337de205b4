// Who is master and who are the replicas, as known at one moment: an immutable snapshot, replaced as a whole.

/** One replica as it was last seen. */
export interface ReplicaState {
  readonly address: string
  /** Whether reads go to it. */
  readonly healthy: boolean
  /** Why not: `'s_down'`, `'link is connecting'`, `'says it is a master'`… */
  readonly reason?: string | undefined
}

/** One sentinel as it was last seen. */
export interface SentinelState {
  readonly address: string
  readonly connected: boolean
  /** In TILT: its clock has jumped, and it is not believed while others answer. Absent when it is not. */
  readonly tilt?: true
  /** Commands that it forbids us (NOPERM), such as `'PSUBSCRIBE'`: it is used without them. Absent when there are none. */
  readonly forbidden?: readonly string[]
  /** Why it could not be connected to or asked the last time. */
  readonly trouble?: string
}

export interface Topology {
  /** Counts the masters that this client has had; 0 before the first. */
  readonly generation: number
  /** Sentinel's config-epoch of the master: grows with each failover of the deployment. */
  readonly epoch: number
  /** Address of the master; `undefined` before the first. */
  readonly master: string | undefined
  readonly replicas: readonly ReplicaState[]
  readonly sentinels: readonly SentinelState[]
  /** Whether commands to the master wait at the moment, because a change is under way or no master is known. */
  readonly holding: boolean
  /** Why there is no (other) knowledge, of the last attempt to get it; `undefined` when it succeeded. */
  readonly trouble?: string | undefined
}

export function freezeTopology(topology: Topology): Topology {
  return Object.freeze({
    ...topology,
    replicas: Object.freeze(topology.replicas.map((replica) => Object.freeze({ ...replica }))),
    sentinels: Object.freeze(topology.sentinels.map((sentinel) => Object.freeze({ ...sentinel }))),
  })
}
