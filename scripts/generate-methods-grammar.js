// What the servers say of a command's arguments, as elements in a row: arguments, arrays of them, and choices. Also
// what is common to the descriptions of two servers, and the grammar as text.

/**
 * @typedef {{ name: string, type: 'string' | 'key' | 'pattern' | 'integer' | 'unix-time' | 'double' | 'pure-token'
 *   | 'oneof' | 'block', token?: string, flags?: string[], arguments?: Arg[] }} Arg
 *
 * @typedef {{ kind: 'one', label: string, type: string }} One an argument
 * @typedef {{ kind: 'rest', label: string, type: string }} Rest any number of arguments
 * @typedef {{ kind: 'choice', ways: Element[][], isOptional: boolean, isDemanded: boolean }} Choice
 * @typedef {One | Rest | Choice} Element
 */

/** The type of what can be anything. */
export const anything = 'A'

/** @type {Record<string, string>} */
const typeNames = { integer: 'Integer', 'unix-time': 'Integer', double: 'Double' }

/**
 * The elements of a command.
 * @param {Arg[]} args
 * @param {string} when `+name` for an optional argument that has to be there, `-name` for one that is not
 */
export function grammarOf(args, when) {
  const wishes = new Map(
    when
      .split(' ')
      .filter(Boolean)
      .map((wish) => [wish.slice(1), wish[0] === '+']),
  )
  const unmet = [...wishes.keys()].filter((name) => !hasArg(args, name))
  if (unmet.length > 0) throw new Error(`no argument ${unmet.join(', ')} in ${JSON.stringify(args)}`)
  return elementsOf(args, wishes)
}

/**
 * The command's grammar as the servers' documentation writes it.
 * @param {string} name
 * @param {Arg[]} args
 */
export function syntax(name, args) {
  return [name, ...args.map((arg) => syntaxOf(arg))].join(' ')
}

/**
 * What either server takes: groups of arguments are the same if they have the same name and token.
 * @param {Arg[]} a
 * @param {Arg[]} b
 * @returns {Arg[]}
 */
export function merge(a, b) {
  /** @param {Arg} arg */
  const key = ({ name, token }) => `${name} ${token ?? ''}`
  /** @type {Arg[]} */
  const merged = []
  let from = 0
  for (const arg of a) {
    const at = b.findIndex((other, i) => i >= from && key(other) === key(arg))
    if (at < 0) {
      merged.push(optional(arg))
      continue
    }
    merged.push(...b.slice(from, at).map(optional))
    merged.push(mergeOne(arg, /** @type {Arg} */ (b[at])))
    from = at + 1
  }
  return [...merged, ...b.slice(from).map(optional)]
}

/** @param {Arg} a @param {Arg} b @returns {Arg} */
function mergeOne(a, b) {
  const flags = [...new Set([...(a.flags ?? []), ...(b.flags ?? [])])].sort()
  const same = { ...a, ...(flags.length > 0 ? { flags } : {}) }
  if (a.type === 'oneof' && b.type === 'oneof') {
    const texts = new Set(a.arguments?.map((arg) => syntaxOf(arg)))
    const news = (b.arguments ?? []).filter((arg) => !texts.has(syntaxOf(arg)))
    return { ...same, arguments: [...(a.arguments ?? []), ...news] }
  }
  if (a.type === 'block' && b.type === 'block') {
    return { ...same, arguments: merge(a.arguments ?? [], b.arguments ?? []) }
  }
  return same
}

/** @param {Arg} arg @returns {Arg} */
function optional(arg) {
  return { ...arg, flags: [...new Set([...(arg.flags ?? []), 'optional'])].sort() }
}

/** @param {Arg[]} args @param {string} name @returns {boolean} */
function hasArg(args, name) {
  return args.some((arg) => arg.name === name || hasArg(arg.arguments ?? [], name))
}

/** @param {Arg} arg @returns {string} */
function syntaxOf(arg) {
  const { name, type, token, flags = [], arguments: parts = [] } = arg
  const words = parts.map((part) => syntaxOf(part))
  const own = type === 'oneof' ? words.join(' | ') : type === 'block' ? words.join(' ') : name
  let text = type === 'pure-token' ? (token ?? '') : token === undefined ? own : `${token} ${own}`
  const isChoice = type === 'oneof' && !flags.includes('optional') && token === undefined
  if (isChoice) text = `<${text}>`
  if (flags.includes('multiple')) {
    const again = flags.includes('multiple_token') || token === undefined ? text : own
    // a choice is too long to be read twice
    text = type === 'oneof' ? `${text} […]` : `${text} [${again} …]`
  }
  return flags.includes('optional') ? `[${text}]` : text
}

/** @param {Arg[]} args @param {ReadonlyMap<string, boolean>} wishes @returns {Element[]} */
function elementsOf(args, wishes) {
  return args.flatMap((arg) => {
    if (wishes.get(arg.name) === false) return []
    const isOptional = arg.flags?.includes('optional') ?? false
    const isDemanded = isOptional && isWished(arg, wishes)
    const own = sequenceOf(arg, wishes)
    if (!isOptional) return own
    return [{ kind: 'choice', ways: waysOut(own), isOptional: !isDemanded, isDemanded }]
  })
}

/** Whether the argument, or one within it, is demanded. @param {Arg} arg @param {ReadonlyMap<string, boolean>} wishes @returns {boolean} */
function isWished(arg, wishes) {
  return wishes.get(arg.name) === true || (arg.arguments ?? []).some((part) => isWished(part, wishes))
}

/** @param {Arg} arg @param {ReadonlyMap<string, boolean>} wishes @returns {Element[]} */
function sequenceOf(arg, wishes) {
  const { name, type, token, flags = [], arguments: parts = [] } = arg
  const label = labelOf(name)
  /** @type {Element[]} */
  const before =
    token === undefined || type === 'pure-token'
      ? []
      : [literal(`${labelOf(token.toLowerCase())}Token`, token)]
  if (flags.includes('multiple')) {
    const names = type === 'block' ? parts.map((part) => labelOf(part.name)) : [label]
    const many = type === 'oneof' ? 'args' : joined(names.map(plural))
    // coordinates, among which a token would otherwise pass for one
    const isOfDoubles = type === 'block' && parts.every((part) => part.type === 'double')
    return [
      ...(flags.includes('multiple_token') ? [] : before),
      { kind: 'rest', label: many, type: isOfDoubles ? 'Double' : anything },
    ]
  }
  if (type === 'pure-token') return [literal(label, token ?? '')]
  if (type === 'block') return [...before, ...elementsOf(parts, wishes)]
  if (type !== 'oneof') return [...before, { kind: 'one', label, type: typeNames[type] ?? anything }]
  const ways = parts.filter((part) => wishes.get(part.name) !== false).map((part) => sequenceOf(part, wishes))
  const loose = ways.flat().find(({ kind }) => kind === 'rest')
  if (loose !== undefined && ways.some((way) => way.length === 1 && way[0] === loose))
    return [...before, loose]
  const words = ways.map(([only, more]) =>
    more === undefined && only?.kind === 'one' ? only.type : undefined,
  )
  // a choice of single words is one argument; where one of them can be anything, so can the whole
  if (words.includes(anything) && !words.includes(undefined))
    return [...before, { kind: 'one', label, type: anything }]
  if (!words.includes(undefined))
    return [...before, { kind: 'one', label, type: [...new Set(words)].join(' | ') }]
  return [...before, { kind: 'choice', ways, isOptional: false, isDemanded: false }]
}

/** An optional choice is one choice, not a choice within a choice. @param {Element[]} own @returns {Element[][]} */
function waysOut(own) {
  const [only] = own
  return own.length === 1 && only?.kind === 'choice' ? only.ways : [own]
}

/** @param {string} label @param {string} token @returns {One} */
function literal(label, token) {
  return { kind: 'one', label, type: `'${token === '""' ? '' : token}'` }
}

/** @param {string} name */
function labelOf(name) {
  const label = name.replace(/[-_](\w)/g, (_, letter) => letter.toUpperCase())
  return label === 'function' ? 'functionName' : label
}

/** @param {string} name */
function plural(name) {
  return /(s|args)$/.test(name) ? name : /[^aeiou]y$/.test(name) ? `${name.slice(0, -1)}ies` : `${name}s`
}

/** One label for what repeats together. @param {string[]} labels */
export function joined([first = '', second, more]) {
  if (second === undefined) return first
  return more === undefined && second !== 'args' && first !== 'args'
    ? `${first}And${capital(second)}`
    : 'args'
}

/** @param {string} name */
function capital(name) {
  return name.slice(0, 1).toUpperCase() + name.slice(1)
}
