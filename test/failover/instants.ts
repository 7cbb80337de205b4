// Instants in the order of time.

/** Shorter than this, the end of the load is no pause. */
const PAUSE_MS = 200

/** The longest time between two instants in a row, or from the last one to the end, which then ends in nothing. */
export function longestGap(
  instants: readonly number[],
  from: number,
  end: number,
): { readonly ms: number; readonly endsAt: number | undefined } {
  let longest: { ms: number; endsAt: number | undefined } = { ms: 0, endsAt: from }
  let last = from
  for (const at of instants) {
    if (at < from || at > end) continue
    if (at - last > longest.ms) longest = { ms: at - last, endsAt: at }
    last = at
  }
  return end - last > longest.ms && end - last > PAUSE_MS ? { ms: end - last, endsAt: undefined } : longest
}

/** The index of the first number above `value` in a sorted list; its length if there is none. */
export function firstAbove(sorted: readonly number[], value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] as number) > value) high = middle
    else low = middle + 1
  }
  return low
}
