// Checks of the pool's options, one value each. What is wrong is named, with what it must be; its value is told only
// where it is a number or a boolean, for anything else may hold a secret.

export function count(name: string, value: number | undefined): number {
  if (value === undefined) return 0
  if (typeof value !== 'number') throw wrongType(name, 'an integer', value)
  if (!Number.isSafeInteger(value) || value < 0) throw outOfRange(name, 'an integer, 0 or more', value)
  return value
}

export function duration(
  name: string,
  value: number | undefined,
  byDefault = 0,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (value === undefined) return byDefault
  if (typeof value !== 'number') throw wrongType(name, 'a number of milliseconds', value)
  if (!(value >= 0 && value <= max)) throw outOfRange(name, `from 0 to ${max} milliseconds`, value)
  return value
}

export function flag(name: string, value: boolean | undefined): boolean {
  if (value === undefined) return false
  if (typeof value !== 'boolean') throw wrongType(name, 'a boolean', value)
  return value
}

export function optionalFunction<F>(name: string, value: F | undefined): F | undefined {
  if (value !== undefined && typeof value !== 'function') throw wrongType(name, 'a function', value)
  return value
}

export function wrongType(name: string, expected: string, value: unknown): TypeError {
  return new TypeError(`the pool's option ${name} must be ${expected}, got ${describe(value)}`)
}

export function outOfRange(name: string, expected: string, value: number): RangeError {
  return new RangeError(`the pool's option ${name} must be ${expected}, got ${value}`)
}

export function describe(value: unknown): string {
  if (value === null) return 'null'
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : typeof value
}

export function rejectUnknown(name: string, known: readonly string[]): void {
  if (known.includes(name)) return
  const [nearest] = known
    .map((option) => ({ option, distance: editDistance(option.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  throw new TypeError(`a pool has no option ${name}, the nearest is ${nearest?.option}`)
}

/** How many letters have to be put in, taken out or replaced to make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (b[j] === letter ? 0 : 1)
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
