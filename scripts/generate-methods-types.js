// From the elements of a command to the parameters of its method, as TypeScript.
//
// What is literal in the grammar is literal in the types; a choice is a union; an optional group is `Opt<[…]>`; up to
// three optional groups in a row may come in any order, as the servers take them. What repeats is an array, which may
// be empty, so that an array can be spread there: `del(...keys)`. Where the elements of an array can be anything, no
// optional group beside it is checked, and none is written. Where a grammar has more ways than `mostWays`, its options
// are an array of arguments.

import { anything, grammarOf, joined } from './generate-methods-grammar.js'

/**
 * @typedef {import('./generate-methods-grammar.js').Arg} Arg
 * @typedef {import('./generate-methods-grammar.js').One} One
 * @typedef {import('./generate-methods-grammar.js').Rest} Rest
 * @typedef {import('./generate-methods-grammar.js').Choice} Choice
 * @typedef {import('./generate-methods-grammar.js').Element} Element
 */

/** Ways to fill in a parameter list beyond which the compiler's messages and its time suffer. */
const mostWays = 128

/** Ways beyond which options are taken in their documented order only. */
const mostOrderedWays = 32

/**
 * The parameters of one overload.
 * @param {Arg[]} args
 * @param {string} when what sets this overload apart: `+name` for an optional argument that is there, `-name` for one
 * that is not
 * @returns {{ text: string, isWhole: boolean }} whether the types say all that the grammar says
 */
export function signature(args, when = '') {
  const grammar = grammarOf(args, when)
  const elements = inlined(gathered(flattened(grammar)))
  const isWhole =
    waysOf(elements) <= mostWays && flattened(grammar).length === grammar.length && !isLoose(elements)
  const kept = waysOf(elements) <= mostWays ? elements : loosened(grammar)
  const fixed = kept.findIndex(({ kind }) => kind !== 'one')
  const head = fixed < 0 ? kept : kept.slice(0, fixed)
  const tail = fixed < 0 ? [] : kept.slice(fixed)
  const [only] = tail
  /** @type {Set<string>} */
  const used = new Set(only?.kind === 'rest' ? [only.label] : [])
  const params = head.map((one) => {
    const { label, type } = /** @type {One} */ (one)
    const free = ['', '2', '3'].map((suffix) => `${label}${suffix}`).find((name) => !used.has(name)) ?? label
    used.add(free)
    return `${free}: ${type}`
  })
  if (tail.length > 0) {
    if (tail.length === 1 && only?.kind === 'rest') params.push(`...${only.label}: ${arrayOf(only.type)}`)
    else params.push(`...${tail.every(isOption) ? 'options' : 'args'}: ${tupleOf(tail)}`)
  }
  return { text: params.join(', '), isWhole }
}

// From the first to the last array, everything is one array; and so is what is optional beside it.
/** @param {Element[]} elements @returns {Element[]} */
function flattened(elements) {
  const last = elements.length - 1
  /** @type {Element[]} */
  const merged = elements.map((element, at) => {
    if (element.kind === 'choice' && element.ways.length === 1) {
      const [only, more] = element.ways[0] ?? []
      if (only?.kind === 'rest' && more === undefined) return only
    }
    // an optional array with a word of its own before it can stand at the end
    if (!hasRest(element) || (at === last && element.kind === 'choice' && isTokenFirst(element)))
      return element
    // a choice of which one way has an array, and others have not
    if (element.kind === 'choice' && !element.isOptional && !element.isDemanded) return element
    return element.kind === 'rest' ? element : { kind: 'rest', label: 'args', type: anything }
  })
  const first = merged.findIndex(({ kind }) => kind === 'rest')
  if (first < 0) return merged
  const end = merged.findLastIndex(({ kind }) => kind === 'rest')
  const labels = merged.slice(first, end + 1).map((it) => (it.kind === 'rest' ? it.label : 'args'))
  /** @type {Rest} */
  const rest = { kind: 'rest', label: joined(labels), type: anything }
  const before = merged.slice(0, first)
  let at = before.length
  let isLoose = false
  for (; at > 0; at--) {
    const element = before[at - 1]
    if (element?.kind === 'choice' && element.isOptional) isLoose = true
    else if (!(element?.kind === 'one' && element.type === anything)) break
  }
  const after = merged.slice(end + 1)
  const required = after.findIndex((element) => element.kind !== 'choice' || !element.isOptional)
  const tail = required < 0 ? [] : after.slice(required)
  const head = before.filter((element, i) => i < at || element.kind === 'one')
  return [...head, isLoose || tail.length < after.length ? { ...rest, label: 'args' } : rest, ...tail]
}

/** As many arguments as come before the first option, then any. @param {Element[]} elements @returns {Element[]} */
function loosened(elements) {
  const first = elements.findIndex(({ kind }) => kind !== 'one')
  return [...elements.slice(0, first), { kind: 'rest', label: 'args', type: anything }]
}

/** Whether an array stands for more than an argument that repeats. @param {Element[]} elements */
function isLoose(elements) {
  return elements.some((element) => element.kind === 'rest' && element.label === 'args')
}

// An option that is there, and no other beside it to change places with, is not an option.
/** @param {Element[]} elements @returns {Element[]} */
function inlined(elements) {
  return elements.flatMap((element, at) => {
    if (element.kind !== 'choice' || !element.isDemanded || element.ways.length !== 1) return [element]
    const isMovable = runs(elements).some(
      ({ from, run }) => run.length > 1 && at >= from && at < from + run.length,
    )
    return isMovable ? [element] : inlined(element.ways[0] ?? [])
  })
}

// Three or more words in a row that may or may not be there are an array of these words.
/** @param {Element[]} elements @returns {Element[]} */
function gathered(elements) {
  if (elements.some(hasRest)) return elements
  /** @type {Element[]} */
  const out = []
  let isDone = false
  for (let at = 0; at < elements.length; ) {
    let end = at
    while (end < elements.length && isWord(elements[end])) end++
    if (end - at >= 3 && !isDone) {
      const words = waysIn(elements.slice(at, end)).map(([word]) => (word?.kind === 'one' ? word.type : ''))
      out.push({ kind: 'rest', label: 'options', type: words.join(' | ') })
      isDone = true
      at = end
    } else out.push(/** @type {Element} */ (elements[at++]))
  }
  return out
}

/** @param {Element[]} elements */
function waysIn(elements) {
  return elements.flatMap((element) => (element.kind === 'choice' ? element.ways : []))
}

/** @param {Element | undefined} element */
function isWord(element) {
  if (element?.kind !== 'choice' || !element.isOptional || element.ways.length !== 1) return false
  const [only, more] = element.ways[0] ?? []
  return more === undefined && only?.kind === 'one'
}

/** @param {Element} element */
function isOption(element) {
  return (
    (element.kind === 'choice' && (element.isOptional || element.isDemanded)) ||
    (element.kind === 'rest' && element.type !== anything)
  )
}

/** @param {Element} element @returns {boolean} */
function hasRest(element) {
  if (element.kind === 'choice') return element.ways.some((way) => way.some(hasRest))
  return element.kind === 'rest'
}

/** @param {Choice} choice */
function isTokenFirst(choice) {
  return choice.ways.every(([first]) => first?.kind === 'one' && first.type !== anything)
}

/** How many tuples the parameters are. @param {Element[]} elements @returns {number} */
function waysOf(elements) {
  return elements.reduce((product, element) => {
    if (element.kind !== 'choice') return product
    const own = element.ways.reduce((sum, way) => sum + waysOf(way), 0)
    return product * (own + (element.isOptional ? 1 : 0))
  }, 1)
}

/** @param {Element[]} elements */
function tupleOf(elements) {
  /** @type {string[]} */
  const parts = []
  const movable = runs(elements)
  for (let at = 0; at < elements.length; ) {
    const run = movable.find(({ from }) => from === at)?.run
    if (run !== undefined) {
      parts.push(`...${anyOrder(run)}`)
      at += run.length
      continue
    }
    const element = /** @type {Element} */ (elements[at++])
    if (element.kind === 'one')
      parts.push(element.type.startsWith("'") ? element.type : `${element.label}: ${element.type}`)
    else if (element.kind === 'rest')
      parts.push(`...${element.type === anything ? `${element.label}: ` : ''}${arrayOf(element.type)}`)
    else
      parts.push(
        `...${element.isOptional ? `Opt<${choiceOf(element)}>` : element.ways.length > 1 ? `(${choiceOf(element)})` : choiceOf(element)}`,
      )
  }
  const [only = ''] = parts
  return parts.length === 1 && only.startsWith('...') && !/^\.{3}\w+: /.test(only)
    ? only.slice(3).replace(/^\((.*)\)$/, '$1')
    : `[${parts.join(', ')}]`
}

/**
 * Options in a row that may change places: two or three, none of them with an array.
 * @param {Element[]} elements
 * @returns {{ from: number, run: Choice[] }[]}
 */
function runs(elements) {
  /** @type {{ from: number, run: Choice[] }[]} */
  const found = []
  if (waysOf(elements) > mostOrderedWays) return found
  for (let from = 0; from < elements.length; ) {
    let end = from
    while (end < elements.length && isMovable(elements[end])) end++
    const run = /** @type {Choice[]} */ (elements.slice(from, end))
    const demanded = run.filter(({ isDemanded }) => isDemanded).length
    if (run.length > 1 && run.length <= 3 && demanded <= 1) found.push({ from, run })
    from = end + 1
  }
  return found
}

/** @param {Element | undefined} element */
function isMovable(element) {
  return element?.kind === 'choice' && isOption(element) && !hasRest(element)
}

/** @param {Choice[]} run */
function anyOrder(run) {
  const demanded = run.filter(({ isDemanded }) => isDemanded)
  const names = [...demanded, ...run.filter(({ isDemanded }) => !isDemanded)].map(choiceOf).join(', ')
  return `${demanded.length > 0 ? 'With' : 'Any'}${run.length}<${names}>`
}

/** @param {Choice} choice */
function choiceOf({ ways }) {
  return ways
    .map((way) => tupleOf(way))
    .map((text) => (text.startsWith('[') ? text : `[...${text}]`))
    .join(' | ')
}

/** @param {string} type */
function arrayOf(type) {
  return type.includes('|') ? `(${type})[]` : `${type}[]`
}
