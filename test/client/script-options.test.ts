import assert from 'node:assert/strict'
import { test } from 'node:test'
import { callArguments, checkLibraryOptions, checkScriptOptions } from '../../lib/client/script-options.ts'

type Row = [options: unknown, kind: typeof TypeError | typeof RangeError, message: RegExp]

function refused(check: (options: unknown) => void, rows: readonly Row[]): void {
  for (const [options, kind, message] of rows) {
    assert.throws(
      () => check(options),
      (error) => error instanceof kind && message.test(error.message),
      `${JSON.stringify(options)} ${message}`,
    )
  }
}

test('a wrong option of a script is told by its name', () => {
  const lua = 'return 1'
  refused(checkScriptOptions, [
    [null, TypeError, /^script options must be an object, got null$/],
    ['return 1', TypeError, /^script options must be an object, got string$/],
    [{ lua, keys: 1, readonly: true }, TypeError, /^unknown script option 'readonly'$/],
    [{ keys: 1 }, TypeError, /^option lua must be a string, got undefined$/],
    [{ lua: Buffer.from(lua), keys: 1 }, TypeError, /^option lua must be a string, got object$/],
    [{ lua: '', keys: 1 }, RangeError, /^option lua must be the text of a script/],
    [{ lua }, TypeError, /^option keys must be a number or 'any', got undefined$/],
    [{ lua, keys: 'all' }, TypeError, /^option keys must be a number or 'any', got string$/],
    [{ lua, keys: -1 }, RangeError, /^option keys must be an integer of 0 or more, or 'any', got -1$/],
    [{ lua, keys: 1.5 }, RangeError, /got 1.5$/],
    [{ lua, keys: Number.NaN }, RangeError, /got NaN$/],
    [{ lua, keys: 1, readOnly: 'yes' }, TypeError, /^option readOnly must be a boolean, got string$/],
    [{ lua, keys: 1, readOnly: null }, TypeError, /^option readOnly must be a boolean, got null$/],
    [{ lua, keys: 1, parse: 'json' }, TypeError, /^option parse must be a function, got string$/],
  ])
  for (const keys of [0, 1, 100, 'any'] as const) checkScriptOptions({ lua, keys })
  checkScriptOptions({ lua, keys: 1, readOnly: undefined, parse: undefined })
})

test('a wrong option of a library is told by its name, and by that of its function', () => {
  const code = '#!lua name=mylib\n…'
  const functions = { one: { keys: 1 } }
  refused(checkLibraryOptions, [
    [undefined, TypeError, /^library options must be an object, got undefined$/],
    [{ code, functions, engine: 'lua' }, TypeError, /^unknown library option 'engine'$/],
    [{ functions }, TypeError, /^option code must be a string, got undefined$/],
    [{ code: 'return 1', functions }, RangeError, /^option code must begin with a line that names engine/],
    [{ code: '#!lua\nname=x', functions }, RangeError, /^option code must begin/],
    [{ code: '\n#!lua name=x', functions }, RangeError, /^option code must begin/],
    [{ code }, TypeError, /^option functions must be an object, got undefined$/],
    [{ code, functions: {} }, RangeError, /^option functions must name at least one function$/],
    [{ code, functions: { 'a b': { keys: 1 } } }, RangeError, /letters, digits and '_', got "a b"$/],
    [{ code, functions: { one: 1 } }, TypeError, /^function one options must be an object, got number$/],
    [{ code, functions: { one: { keys: 1, lua: '' } } }, TypeError, /^unknown function one option 'lua'$/],
    [{ code, functions: { one: {} } }, TypeError, /^option keys of function one must be a number/],
    [{ code, functions: { one: { keys: -1 } } }, RangeError, /^option keys of function one .*got -1$/],
    [{ code, functions: { one: { keys: 1, readOnly: 1 } } }, TypeError, /^option readOnly of function one/],
    [{ code, functions: { one: { keys: 1, parse: 1 } } }, TypeError, /^option parse of function one/],
  ])
  checkLibraryOptions({ code, functions })
  checkLibraryOptions({ code: '#!js-engine version=1 name=mylib\n', functions: { _1: { keys: 'any' } } })
})

test('the arguments of a call begin with the number of keys', () => {
  assert.deepEqual(callArguments(2, ['a', 'b'], [1, 2n]), [2, 'a', 'b', 1, 2n])
  assert.deepEqual(callArguments(0, [], []), [0])
  assert.deepEqual(callArguments('any', [], ['x']), [0, 'x'])
  assert.deepEqual(callArguments('any', ['a', 'b', 'c'], []), [3, 'a', 'b', 'c'])
})

test('a wrong call is told at once, with what was wanted', () => {
  const rows: [keys: unknown, args: unknown, typeof TypeError | typeof RangeError, RegExp][] = [
    [['a'], [], RangeError, /^keys must be 2, as option keys says, got 1$/],
    [['a', 'b', 'c'], [], RangeError, /got 3$/],
    ['ab', [], TypeError, /^keys must be an array, got string$/],
    [undefined, [], TypeError, /^keys must be an array, got undefined$/],
    [['a', 'b'], 'x', TypeError, /^args must be an array, got string$/],
    [['a', 'b'], null, TypeError, /^args must be an array, got null$/],
    [['a', 'b'], [{}], TypeError, /argument/],
    [['a', undefined], [], TypeError, /argument/],
    [['a', 'b'], [true], TypeError, /argument/],
  ]
  for (const [keys, args, kind, message] of rows) {
    assert.throws(
      () => callArguments(2, keys, args),
      (error) => error instanceof kind && message.test(error.message),
      String(message),
    )
  }
})

test('bytes of a call are copied', () => {
  const bytes = Uint8Array.of(1, 2)
  const args = callArguments(1, [bytes], [bytes])
  bytes.fill(9)
  assert.deepEqual(args, [1, Buffer.of(1, 2), Buffer.of(1, 2)])
})
