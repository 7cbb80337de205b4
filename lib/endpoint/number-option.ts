// The check of an option that is a number, for the options of endpoints and of what stands on them.

/** What fits a timer of Node's, and is more than any count here needs. */
const MAX = 2 ** 31 - 1

/**
 * The option's value, or its default.
 *
 * @throws {TypeError} {RangeError} naming the option, its value and what was expected
 */
export function numberOption(name: string, value: unknown, byDefault: number, min: number): number {
  if (value === undefined) return byDefault
  if (typeof value !== 'number') throw new TypeError(`option ${name} must be a number, got ${typeof value}`)
  if (!(value >= min && value <= MAX)) {
    throw new RangeError(`option ${name} must be from ${min} to ${MAX}, got ${value}`)
  }
  return value
}
