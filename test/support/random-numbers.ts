// Random numbers that are the same for the same seed, so that what a random test found can be had again.

/** Integers from 0 up to a bound, the bound excluded. */
export type RandomNumbers = (below: number) => number

/** mulberry32. */
export function randomNumbers(seed: number): RandomNumbers {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** The seed in the variable RESPOOL_SEED, to have a run again, or one that nobody had yet. */
export function freshSeed(): number {
  const { RESPOOL_SEED } = process.env
  return (RESPOOL_SEED === undefined ? Date.now() : Number(RESPOOL_SEED)) >>> 0
}

export function pick<T>(random: RandomNumbers, items: readonly T[]): T {
  return items[random(items.length)] as T
}
