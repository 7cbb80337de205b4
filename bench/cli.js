// Options of a program of this folder, from one table that is also its help.

import { parseArgs } from 'node:util'

/**
 * @typedef {object} Option
 * @property {string} help
 * @property {string} [value] what stands for the value in the help; without it the option is a flag
 * @property {string} [byDefault]
 */

/**
 * @param {Record<string, Option>} options
 * @param {string} intro what the help begins with
 * @param {() => string} [more] what it ends with
 */
export function readOptions(options, intro, more = () => '') {
  const table = { ...options, help: { help: 'this text' } }
  const spec = Object.entries(table).map(([name, { value }]) => [
    name,
    { type: value === undefined ? 'boolean' : 'string' },
  ])
  let values
  try {
    values = parseArgs({ options: Object.fromEntries(spec) }).values
  } catch (error) {
    fail(error.message)
  }
  if (values.help) {
    console.log(`${intro}\n\n${describe(table)}${more()}`)
    process.exit(0)
  }
  for (const [name, { byDefault }] of Object.entries(table)) values[name] ??= byDefault
  return values
}

/** A mistake of the user's: a line, no stack. */
export function fail(message) {
  console.error(`${message}; --help tells more`)
  process.exit(1)
}

export function integer(values, name, min) {
  const number = Number(values[name])
  if (Number.isInteger(number) && number >= min) return number
  return fail(`--${name} must be an integer of at least ${min}, got '${values[name]}'`)
}

/** Names separated by commas; one may end in `*`. Without a list all that are there by default. */
export function pick(all, list, what, byDefault = all) {
  if (list === undefined) return byDefault
  const picked = list.split(',').flatMap((wanted) => {
    const found = wanted.endsWith('*')
      ? all.filter((name) => name.startsWith(wanted.slice(0, -1)))
      : all.filter((name) => name === wanted)
    return found.length > 0 ? found : fail(`unknown ${what} '${wanted}', there are ${all.join(', ')}`)
  })
  return [...new Set(picked)]
}

function describe(table) {
  const rows = Object.entries(table).map(([name, { value, help, byDefault }]) => [
    `  --${name}${value === undefined ? '' : ` ${value}`}`,
    `${help}${byDefault === undefined ? '' : ` (${byDefault})`}`,
  ])
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  return rows.map(([left, right]) => left.padEnd(width) + right).join('\n')
}
