// Who is near and who is slow, by smoothed round trips. Pure.

/** Who answers nearly as fast as the fastest is as near. */
const NEAR_FACTOR = 1.25
const NEAR_MS = 1
/** Slower than the others: so many times, and by as many milliseconds, after measurements enough. */
const OUTLIER_FACTOR = 3
const OUTLIER_MS = 20
const OUTLIER_MEASUREMENTS = 5

interface Measured {
  /** Smoothed round trip in milliseconds; `undefined` before the first. */
  readonly latency: number | undefined
}

/** The fastest, and those that are about as fast; all, where nothing was measured. */
export function nearestOf<M extends Measured>(all: readonly M[]): readonly M[] {
  let best = Number.POSITIVE_INFINITY
  for (const { latency } of all) best = Math.min(best, latency ?? best)
  if (best === Number.POSITIVE_INFINITY) return all
  const limit = best * NEAR_FACTOR + NEAR_MS
  return all.filter(({ latency }) => latency !== undefined && latency <= limit)
}

/** Those that are much slower than what is usual among the others. */
export function slowOf<M extends Measured & { readonly measurements: number }>(all: readonly M[]): M[] {
  const measured = all.filter(({ measurements }) => measurements >= OUTLIER_MEASUREMENTS)
  return measured.filter((one) => {
    const others = measured.filter((other) => other !== one).map(({ latency = 0 }) => latency)
    if (others.length === 0) return false
    const usual = others.sort((a, b) => a - b)[(others.length - 1) >> 1] as number
    return (one.latency ?? 0) > usual * OUTLIER_FACTOR + OUTLIER_MS
  })
}
