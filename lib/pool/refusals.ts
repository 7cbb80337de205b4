// What those are told whom the pool does not serve: always with the numbers.

import { PoolError } from '../errors.ts'

/** @param connections how many there may be */
export function exhausted(connections: number): PoolError {
  return new PoolError('POOL_EXHAUSTED', `all ${connections} connections of the pool are in use`)
}

export function queueFull(waiting: number, maxWaiting: number, connections: number): PoolError {
  const what = connections > 0 ? `one of ${connections} connections` : 'a connection'
  const message = `${waiting} wait for ${what} already, and maxWaiting is ${maxWaiting}`
  return new PoolError('QUEUE_FULL', message)
}

/**
 * @param what what it has waited for
 * @param others how many still wait
 * @param longestHeldMs how long the oldest lease is out, if that is known
 */
export function waitedInVain(
  waitedMs: number,
  what: string,
  others: number,
  longestHeldMs: number | undefined,
): PoolError {
  const held = longestHeldMs === undefined ? '' : `, the longest is held for ${Math.round(longestHeldMs)} ms`
  const rest = others === 1 ? '1 other waits' : `${others} others wait`
  return new PoolError('POOL_EXHAUSTED', `waited ${waitedMs} ms for ${what}, ${rest}${held}`)
}
