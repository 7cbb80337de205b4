// What scripts and function libraries are told, checked; and what a call of one is made of. Pure.

import { shown } from '../errors.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'

/** How many keys a call names: always so many, or any number. */
export type KeyCount = number | 'any'

/** The keys of a call: a tuple of that length, or any array where the number is not fixed. */
export type Keys<K extends KeyCount> = K extends number
  ? number extends K
    ? readonly Argument[]
    : readonly [...Tuple<K>]
  : readonly Argument[]

type Tuple<N extends number, T extends readonly Argument[] = []> = T['length'] extends N
  ? T
  : Tuple<N, readonly [...T, Argument]>

/** One function of a library. */
export interface FunctionOptions<K extends KeyCount = KeyCount, R = unknown> {
  /** How many keys each call names; `'any'`: as many as it likes. */
  readonly keys: K
  /**
   * It writes nothing: calls go where `readFrom` says, and are tried again when a reply is lost. The server holds it to
   * that. @default false
   */
  readonly readOnly?: boolean | undefined
  /** What becomes of the reply. @default the reply as `call()` gives it */
  readonly parse?: ((reply: Reply) => R) | undefined
}

/** What `script()` is told. */
export interface ScriptOptions<K extends KeyCount = KeyCount, R = unknown> extends FunctionOptions<K, R> {
  /** The text: Lua, or what the server's other engines take. */
  readonly lua: string
}

/** Functions by their names. */
export type FunctionTable = Readonly<Record<string, FunctionOptions>>

/** What `functions()` is told. */
export interface LibraryOptions<F extends FunctionTable = FunctionTable> {
  /** The text of the library; its first line names engine and library: `#!lua name=mylib`. */
  readonly code: string
  /** Those of its functions that are called, by the names under which they are registered. */
  readonly functions: F
}

const FUNCTION_OPTIONS = ['keys', 'readOnly', 'parse']
const SCRIPT_OPTIONS = new Set(['lua', ...FUNCTION_OPTIONS])
const LIBRARY_OPTIONS = new Set(['code', 'functions'])

/** One line, as Redis and Valkey want it: `#!` engine, then options, one of them the name. */
const SHEBANG = /^#![\w-]+ (?:[^\n]*\s)?name=\w/
const FUNCTION_NAME = /^\w+$/

/** @throws {TypeError} {RangeError} naming what is wrong */
export function checkScriptOptions(options: unknown): asserts options is ScriptOptions {
  checkNames('script', options, SCRIPT_OPTIONS)
  const { lua } = options as ScriptOptions
  if (typeof lua !== 'string') throw new TypeError(`option lua must be a string, got ${kindOf(lua)}`)
  if (lua === '') throw new RangeError('option lua must be the text of a script, got an empty string')
  checkCallOptions('', options as ScriptOptions)
}

/** @throws {TypeError} {RangeError} naming what is wrong */
export function checkLibraryOptions(options: unknown): asserts options is LibraryOptions {
  checkNames('library', options, LIBRARY_OPTIONS)
  const { code, functions } = options as LibraryOptions
  if (typeof code !== 'string') throw new TypeError(`option code must be a string, got ${kindOf(code)}`)
  if (!SHEBANG.test(code)) {
    throw new RangeError(
      "option code must begin with a line that names engine and library: '#!lua name=mylib'",
    )
  }
  if (functions === null || typeof functions !== 'object') {
    throw new TypeError(`option functions must be an object, got ${kindOf(functions)}`)
  }
  const names = Object.keys(functions)
  if (names.length === 0) throw new RangeError('option functions must name at least one function')
  for (const name of names) {
    if (!FUNCTION_NAME.test(name)) {
      throw new RangeError(`the name of a function has letters, digits and '_', got ${shown(name)}`)
    }
    checkNames(`function ${name}`, functions[name], new Set(FUNCTION_OPTIONS))
    checkCallOptions(` of function ${name}`, functions[name] as FunctionOptions)
  }
}

/**
 * What stands behind the name of what is called: `numkeys key… arg…`. Bytes are copied: they may be sent later, or again.
 *
 * @throws {TypeError} {RangeError} keys or arguments that are none, or the wrong number of keys
 */
export function callArguments(wanted: KeyCount, keys: unknown, args: unknown): Argument[] {
  if (!Array.isArray(keys)) throw new TypeError(`keys must be an array, got ${kindOf(keys)}`)
  if (!Array.isArray(args)) throw new TypeError(`args must be an array, got ${kindOf(args)}`)
  if (wanted !== 'any' && keys.length !== wanted) {
    throw new RangeError(`keys must be ${wanted}, as option keys says, got ${keys.length}`)
  }
  const given: Argument[] = [...keys, ...args]
  checkCommand(['EVALSHA', ...given])
  const owned = given.map((it) => (typeof it === 'object' ? Buffer.from(it) : it))
  return [keys.length, ...owned]
}

function checkNames(what: string, options: unknown, known: ReadonlySet<string>): void {
  if (options === null || typeof options !== 'object') {
    throw new TypeError(`${what} options must be an object, got ${kindOf(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!known.has(name)) throw new TypeError(`unknown ${what} option '${name}'`)
  }
}

function checkCallOptions(where: string, { keys, readOnly, parse }: FunctionOptions): void {
  if (keys !== 'any' && typeof keys !== 'number') {
    throw new TypeError(`option keys${where} must be a number or 'any', got ${kindOf(keys)}`)
  }
  if (keys !== 'any' && !(Number.isSafeInteger(keys) && keys >= 0)) {
    throw new RangeError(`option keys${where} must be an integer of 0 or more, or 'any', got ${keys}`)
  }
  if (readOnly !== undefined && typeof readOnly !== 'boolean') {
    throw new TypeError(`option readOnly${where} must be a boolean, got ${kindOf(readOnly)}`)
  }
  if (parse !== undefined && typeof parse !== 'function') {
    throw new TypeError(`option parse${where} must be a function, got ${kindOf(parse)}`)
  }
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : typeof value
}
