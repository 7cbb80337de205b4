// What the samples of a run come to. Ratios are medians of the ratio of each round, so that they hold on a machine
// whose speed drifts.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Of one figure of two clients. */
export function ratio(samples, others, figure) {
  return median(samples.map((sample, i) => sample[figure] / others[i][figure]))
}

export function medianOf(samples, figure) {
  return median(samples.map((sample) => sample[figure]))
}

/** 1234 → 1.2k. */
export function short(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`
  return value >= 1e3 ? `${(value / 1e3).toFixed(1)}k` : value.toFixed(0)
}

/** Three digits that mean something, no more. */
export function digits(value) {
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2)
}
