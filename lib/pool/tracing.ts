// What a pool tells those who subscribe to its channels of `node:diagnostics_channel`. The callers look at
// `hasSubscribers` first, so that without one nothing is even allocated; and they publish when their accounts are
// settled, for a subscriber may call the pool.

import { type Channel, channel } from 'node:diagnostics_channel'

/** Every message has the `pool`; what else there is, docs/pool.md tells. */
export const trace: Readonly<Record<TraceName, Channel>> = {
  breaker: channel('respool:pool:breaker'),
  dial: channel('respool:pool:dial'),
  evict: channel('respool:pool:evict'),
  leak: channel('respool:pool:leak'),
  lend: channel('respool:pool:lend'),
  retire: channel('respool:pool:retire'),
  return: channel('respool:pool:return'),
  wait: channel('respool:pool:wait'),
}

type TraceName = 'breaker' | 'dial' | 'evict' | 'leak' | 'lend' | 'retire' | 'return' | 'wait'
