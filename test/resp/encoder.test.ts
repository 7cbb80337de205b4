import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { type Argument, checkCommand, Encoder, encodeCommands } from '../../lib/resp/index.ts'
import { decodeValues } from '../support/decode.ts'
import { array, bulk } from '../support/resp-writer.ts'

type Row = readonly [what: string, command: readonly Argument[], wire: string]

const set = (value: string) => `*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${value}`

const rows: readonly Row[] = [
  ['a string', ['SET', 'key', 'value'], set('$5\r\nvalue\r\n')],
  ['an integer', ['SET', 'key', 100], set('$3\r\n100\r\n')],
  ['a negative integer', ['SET', 'key', -1], set('$2\r\n-1\r\n')],
  ['the smallest integer of 64 bits', ['SET', 'key', -(2n ** 63n)], set('$20\r\n-9223372036854775808\r\n')],
  ['the largest integer of 64 bits', ['SET', 'key', 2n ** 63n - 1n], set('$19\r\n9223372036854775807\r\n')],
  ['the largest safe integer', ['SET', 'key', 2 ** 53 - 1], set('$16\r\n9007199254740991\r\n')],
  [
    'a fraction, all digits and no exponent',
    ['SET', 'key', 1349673917.939762],
    set('$17\r\n1349673917.939762\r\n'),
  ],
  ['a number with an exponent', ['SET', 'key', 1.5e300], set('$8\r\n1.5e+300\r\n')],
  ['minus zero as zero', ['SET', 'key', -0], set('$1\r\n0\r\n')],
  ['infinity', ['ZADD', Number.POSITIVE_INFINITY], '*2\r\n$4\r\nZADD\r\n$3\r\ninf\r\n'],
  ['minus infinity', ['ZADD', Number.NEGATIVE_INFINITY], '*2\r\n$4\r\nZADD\r\n$4\r\n-inf\r\n'],
  ['not a number', ['SET', 'key', Number.NaN], set('$3\r\nNaN\r\n')],
  ['an empty string', ['SET', 'key', ''], set('$0\r\n\r\n')],
  ['empty bytes', ['SET', 'key', new Uint8Array()], set('$0\r\n\r\n')],
  ['bytes', ['SET', 'key', Buffer.from('va\r\nlue')], set('$7\r\nva\r\nlue\r\n')],
  ['a part of larger bytes', ['SET', 'key', Buffer.from('a value b').subarray(2, 7)], set('$5\r\nvalue\r\n')],
  ['a string with CRLF', ['SET', 'key', '\r\n'], set('$2\r\n\r\n\r\n')],
  ['a string beyond ASCII', ['SET', 'key', 'h\u00e9'], set('$3\r\nh\u00e9\r\n')],
  ['a character outside the first plane', ['SET', 'key', '\u{1f600}'], set('$4\r\n\u{1f600}\r\n')],
  ['half a character as the replacement', ['SET', 'key', 'a\ud83d'], set('$4\r\na\ufffd\r\n')],
  ['a name alone', ['PING'], '*1\r\n$4\r\nPING\r\n'],
  ['an empty name', [''], '*1\r\n$0\r\n\r\n'],
  ['a name of bytes', [Buffer.from('PING')], '*1\r\n$4\r\nPING\r\n'],
]

for (const [what, command, wire] of rows) {
  test(`${what} is written as a bulk string`, () => {
    assert.equal(encodeCommands([command]).toString(), wire)
  })
}

test('commands of a batch follow each other', () => {
  const encoder = new Encoder()
  encoder.append(['SET', 'key', 'value'])
  encoder.append(['GET', 'key'])
  const wire = '*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n'
  assert.equal(encoder.byteLength, wire.length)
  assert.equal(Buffer.concat(encoder.take()).toString(), wire)
  assert.equal(encoder.byteLength, 0)
  assert.deepEqual(encoder.take(), [])
})

/** The test's own idea of a command on the wire. */
function expected(command: readonly (string | Uint8Array)[]): Buffer {
  return array(...command.map((it) => bulk(typeof it === 'string' ? Buffer.from(it) : it)))
}

test('strings of every length around the short ones are written whole, ASCII or not', () => {
  for (let length = 0; length <= 70; length += 1) {
    const ascii = 'abcdefghij'.repeat(7).slice(0, length)
    const texts = [ascii, `${ascii}\u00e9`, `\u00e9${ascii}`, `${ascii}\u{1f600}${ascii}`, `${ascii}\ud83d`]
    if (length > 0) texts.push(`${ascii.slice(0, -1)}\u20ac`, '\u20ac'.repeat(length))
    for (const text of texts) {
      assert.deepEqual(encodeCommands([['ECHO', text]]), expected(['ECHO', text]), JSON.stringify(text))
    }
  }
})

test('commands of 9, 10, 99, 100 and 100,000 arguments have their count', () => {
  for (const count of [1, 9, 10, 11, 99, 100, 1000, 100_000]) {
    const command = Array.from({ length: count }, (_, i) => String(i))
    assert.ok(encodeCommands([command]).equals(expected(command)), `${count} arguments`)
  }
})

test('arguments around the size of a slab are written whole, alone and between others', () => {
  for (const around of [64 * 1024, 128 * 1024]) {
    for (let size = around - 40; size <= around + 10; size += 1) {
      const bytes = Buffer.alloc(size, 'x')
      for (const argument of [bytes, bytes.toString()]) {
        const encoder = new Encoder()
        const wires: Buffer[] = []
        for (const command of [
          ['SET', 'a', argument],
          ['GET', 'a'],
          ['SET', argument, 'b'],
        ]) {
          encoder.append(command)
          wires.push(expected(command))
        }
        assert.ok(Buffer.concat(encoder.take()).equals(Buffer.concat(wires)), `${size} bytes`)
      }
    }
  }
})

test('a batch of many commands, many times a slab, is written in order', () => {
  const encoder = new Encoder()
  const wires: Buffer[] = []
  for (let i = 0; i < 20_000; i += 1) {
    const command = ['SET', `key:${i}`, 'v'.repeat(i % 97)]
    encoder.append(command)
    wires.push(expected(command))
  }
  const whole = Buffer.concat(wires)
  assert.equal(encoder.byteLength, whole.length)
  const parts = encoder.take()
  assert.ok(parts.length > 10)
  assert.ok(Buffer.concat(parts).equals(whole))
})

test('any command is read back as it was written', () => {
  const argument = fc.oneof(fc.string({ unit: 'binary', maxLength: 50 }), fc.uint8Array({ maxLength: 50 }))
  const commands = fc.array(fc.array(argument, { minLength: 1, maxLength: 6 }), {
    minLength: 1,
    maxLength: 6,
  })
  fc.assert(
    fc.property(commands, (all) => {
      const encoder = new Encoder()
      for (const command of all) encoder.append(command)
      assert.deepEqual(
        decodeValues(encoder.take(), { asBytes: true }),
        all.map((command) => command.map((it) => Buffer.from(it as Uint8Array))),
      )
    }),
  )
})

test('an argument’s memory is the caller’s again when append has returned', () => {
  for (const size of [3, 100, 70_000]) {
    const bytes = Buffer.alloc(size, 'a')
    const command: Argument[] = ['SET', 'k', bytes]
    const encoder = new Encoder()
    encoder.append(command)
    const wire = expected(['SET', 'k', Buffer.from(bytes)])
    bytes.fill('b')
    command[1] = 'changed'
    assert.ok(Buffer.concat(encoder.take()).equals(wire))
  }
})

test('bytes of another realm are bytes', () => {
  const foreign: unknown = runInNewContext('new Uint8Array([104, 105])')
  assert.ok(!(foreign instanceof Uint8Array))
  assert.equal(
    encodeCommands([['ECHO', foreign as Uint8Array]]).toString(),
    '*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n',
  )
})

test('bytes of shared memory are bytes', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(2))
  shared.set([104, 105])
  assert.equal(encodeCommands([['ECHO', shared]]).toString(), '*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n')
})

test('what is no argument is refused with its position and type, and nothing is added', () => {
  const bad: [unknown, RegExp][] = [
    [null, /got null$/],
    [undefined, /got undefined$/],
    [true, /got boolean$/],
    [Symbol('s'), /got symbol$/],
    [() => 1, /got function$/],
    [['a'], /got an array$/],
    [{ a: 1 }, /got an object \(Object\)$/],
    [new Date(0), /got an object \(Date\)$/],
    [new Uint16Array(2), /got an object \(Uint16Array\)$/],
    [new ArrayBuffer(2), /got an object \(ArrayBuffer\)$/],
    [Object.create(null), /got an object \(no prototype\)$/],
  ]
  for (const [value, message] of bad) {
    const encoder = new Encoder()
    encoder.append(['PING'])
    for (const [command, where] of [
      [[value], /^the name of the command/],
      [['SET', 'key', value], /^argument 2 of the command/],
      [['SET', value, 'secret'], /^argument 1 of the command/],
    ] as [Argument[], RegExp][]) {
      assert.throws(() => encoder.append(command), { name: 'TypeError', message })
      assert.throws(() => checkCommand(command), { name: 'TypeError', message: where })
      assert.throws(
        () => encodeCommands([command]),
        (error: Error) => !error.message.includes('secret'),
      )
    }
    assert.equal(Buffer.concat(encoder.take()).toString(), '*1\r\n$4\r\nPING\r\n')
  }
  assert.throws(() => encodeCommands([[]]), { name: 'TypeError', message: /needs a name/ })
})

test('a command that memory does not suffice for leaves no part of itself in the batch', (t) => {
  const encoder = new Encoder()
  encoder.append(['SET', 'a', 'b'])
  const alloc = t.mock.method(Buffer, 'allocUnsafeSlow', () => {
    throw new RangeError('Array buffer allocation failed')
  })
  assert.throws(() => encoder.append(['SET', 'c'.repeat(40_000), 'd'.repeat(70_000)]), RangeError)
  alloc.mock.restore()
  encoder.append(['GET', 'a'])
  const wire = Buffer.concat([expected(['SET', 'a', 'b']), expected(['GET', 'a'])])
  assert.equal(encoder.byteLength, wire.length)
  assert.ok(Buffer.concat(encoder.take()).equals(wire))
})

test('bytes taken stay as they are through later batches, until they are released as written', () => {
  const held: [Buffer[], Buffer][] = []
  const encoders = Array.from({ length: 4 }, () => new Encoder())
  for (let round = 0; round < 200; round += 1) {
    const encoder = encoders[round % encoders.length] as Encoder
    const command = ['SET', `key:${round}`, 'v'.repeat((round * 997) % 70_000)]
    encoder.append(command)
    held.push([encoder.take(), expected(command)])
    // odd rounds keep filling the same slab, the others give it away while its bytes are still on their way
    if (round % 2 === 0) encoder.release(false)
  }
  for (const [parts, wire] of held) assert.ok(Buffer.concat(parts).equals(wire))
})

test('a slab that was written serves the next batch of any encoder', () => {
  const first = new Encoder()
  first.append(['PING'])
  const [part] = first.take()
  first.release(true)
  const second = new Encoder()
  second.append(['PING'])
  assert.equal(second.take()[0]?.buffer, part?.buffer)
})

test('a slab that was not written yet serves nobody else', () => {
  const first = new Encoder()
  first.append(['PING'])
  const [part] = first.take()
  first.release(false)
  for (let i = 0; i < 20; i += 1) {
    const second = new Encoder()
    second.append(['PING'])
    assert.notEqual(second.take()[0]?.buffer, part?.buffer)
  }
})

test('a slab is not released while a batch is open', () => {
  const encoder = new Encoder()
  encoder.append(['PING'])
  encoder.release(true)
  const other = new Encoder()
  other.append(['QUIT'])
  assert.equal(Buffer.concat(encoder.take()).toString(), '*1\r\n$4\r\nPING\r\n')
})

test('the memory of one large argument is not kept for later', () => {
  const encoder = new Encoder()
  const large = Buffer.alloc(1024 * 1024)
  encoder.append(['SET', 'k', large])
  encoder.take()
  encoder.release(true)
  const next = new Encoder()
  next.append(['PING'])
  assert.equal(next.take()[0]?.buffer.byteLength, 64 * 1024)
})

test('commands that are refused, wherever in a slab and whichever argument, leave no part of themselves', () => {
  const sizes = fc.integer({ min: 0, max: 70_000 })
  const commands = fc.array(fc.record({ size: sizes, extra: sizes, isRefused: fc.boolean() }), {
    maxLength: 12,
  })
  fc.assert(
    fc.property(commands, fc.boolean(), (list, isTogether) => {
      const encoder = new Encoder()
      const expected: string[][] = []
      for (const { size, extra, isRefused } of list) {
        const good = ['SET', 'k'.repeat(size), 'v'.repeat(extra)]
        const bad = [...good, null as never]
        const commands = isTogether ? [good, isRefused ? bad : good] : [isRefused ? bad : good]
        const add = () => (isTogether ? encoder.appendAll(commands) : encoder.append(commands[0] ?? []))
        if (isRefused) assert.throws(add, /^TypeError: argument 3 of the command must be/)
        else {
          add()
          expected.push(...commands)
        }
        assert.equal(encoder.byteLength, Buffer.concat(expected.map((it) => encodeCommands([it]))).length)
      }
      assert.deepEqual(decodeValues([Buffer.concat(encoder.take())]), expected)
    }),
    { numRuns: 200 },
  )
})

test('a refused command leaves nothing behind at the end of a slab that was given away', () => {
  for (let left = 0; left < 40; left += 1) {
    const encoder = new Encoder()
    const first = ['x'.repeat(60_000)]
    encoder.append(first)
    const rest = 65_536 - encodeCommands([first]).length - left - '*1\r\n$1234\r\n\r\n'.length
    encoder.append(['y'.repeat(rest)])
    encoder.take()
    assert.throws(() => encoder.append(['SET', 'z'.repeat(70_000), null as never]), TypeError)
    encoder.append(['PING'])
    assert.equal(Buffer.concat(encoder.take()).toString(), '*1\r\n$4\r\nPING\r\n', `${left} bytes left`)
  }
})

test('bytes are as many as there are, whatever their own length says', () => {
  class Odd extends Uint8Array {
    #asked = 0
    override get length() {
      this.#asked += 1
      return this.#asked
    }
  }
  assert.equal(
    encodeCommands([['SET', new Odd([104, 105, 33])]]).toString(),
    '*2\r\n$3\r\nSET\r\n$3\r\nhi!\r\n',
  )
})
