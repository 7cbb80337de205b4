import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReplyError } from '../../lib/errors.ts'
import { defaultLimits, type Reply } from '../../lib/resp/index.ts'
import { corpus } from '../fuzz/corpus.ts'
import { type Decoded, decode } from '../support/decode.ts'
import { compareDecoders, tightLimits } from '../support/differential.ts'
import { mutate, randomCuts } from '../support/mutate.ts'
import { freshSeed, randomNumbers } from '../support/random-numbers.ts'
import * as write from '../support/resp-writer.ts'

/** A value with its bytes on the wire, and what it reads as when bytes are asked for. */
interface Sample {
  readonly wire: Buffer
  readonly value: Reply
  readonly bytes: Reply
}

const line = fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => text.replace(/[\r\n]/g, ''))
const text = fc.string({ unit: 'grapheme', maxLength: 40 })

const plain = <T extends Reply>(value: T, wire: Buffer): Sample => ({ wire, value, bytes: value })
const textual = (value: string, wire: Buffer): Sample => ({ wire, value, bytes: Buffer.from(value) })

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const leaf: fc.Arbitrary<Sample> = fc.oneof(
  line.map((it) => plain(it, write.simple(it))),
  line.map((it) => plain(new ReplyError(it), write.error(it))),
  fc.integer().map((it) => plain(it, write.integer(it))),
  int64.map((it) => plain(Number.isSafeInteger(Number(it)) ? Number(it) : it, write.integer(it))),
  text.map((it) => textual(it, write.bulk(it))),
  fc.constantFrom(write.nullBulk(), write.nullArray(), write.resp3Null()).map((wire) => plain(null, wire)),
  fc.boolean().map((it) => plain(it, write.boolean(it))),
  fc.double().map((it) => plain(it, write.double(it))),
  fc.bigInt().map((it) => plain(it, write.bigNumber(it))),
  text.map((it) => plain(new ReplyError(it), write.bulkError(it))),
  fc
    .tuple(fc.constantFrom('txt', 'mkd'), text)
    .map(([format, it]) => textual(it, write.verbatim(format, it))),
  fc
    .array(fc.uint8Array({ minLength: 1, maxLength: 9 }), { maxLength: 4 })
    .map((chunks) => Buffer.concat(chunks))
    .map((bytes) => ({ wire: streamInThrees(bytes), value: bytes.toString(), bytes })),
)

function streamInThrees(bytes: Buffer): Buffer {
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 3) chunks.push(bytes.subarray(at, at + 3))
  return write.streamedString(...chunks)
}

const pairs = (items: readonly Sample[]): [Sample, Sample][] =>
  items.flatMap((key, i) =>
    i % 2 === 0 && items[i + 1] !== undefined ? [[key, items[i + 1] as Sample]] : [],
  )
const wires = (items: readonly Sample[]): Buffer[] => items.map(({ wire }) => wire)
const pairWires = (items: readonly Sample[]): [Buffer, Buffer][] =>
  pairs(items).map(([key, value]) => [key.wire, value.wire])

/** The same aggregate in all three views: its bytes, its value, its value with bytes. */
function aggregate(wire: Buffer, items: readonly Sample[], build: (values: Reply[]) => Reply): Sample {
  return { wire, value: build(items.map((it) => it.value)), bytes: build(items.map((it) => it.bytes)) }
}

const asArray = (values: Reply[]): Reply => values
const asSet = (values: Reply[]): Reply => new Set(values)
const asMap = (values: Reply[]): Reply =>
  new Map(values.flatMap((key, i): [Reply, Reply][] => (i % 2 === 0 ? [[key, values[i + 1] as Reply]] : [])))

const { sample } = fc.letrec<{ sample: Sample }>((tie) => ({
  sample: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    { arbitrary: leaf, weight: 3 },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.integer({ min: 0, max: 6 }), fc.array(tie('sample'), { maxLength: 5 }))
        .map(([kind, items]) => {
          const even = items.slice(0, items.length - (items.length % 2))
          switch (kind) {
            case 0:
              return aggregate(write.array(...wires(items)), items, asArray)
            case 1:
              return aggregate(write.set(...wires(items)), items, asSet)
            case 2:
              return aggregate(write.map(...pairWires(even)), even, asMap)
            case 3:
              return aggregate(write.streamedArray(...wires(items)), items, asArray)
            case 4:
              return aggregate(write.streamedSet(...wires(items)), items, asSet)
            case 5:
              return aggregate(write.streamedMap(...pairWires(even)), even, asMap)
            default: {
              // attributes before each element change nothing of the array
              const wire = items.map((it) => Buffer.concat([write.attribute([it.wire, it.wire]), it.wire]))
              return aggregate(write.array(...wire), items, asArray)
            }
          }
        }),
    },
  ),
}))

/** Cuts bytes at random places; the same place twice gives an empty piece. */
const cutAt = (wire: Buffer, fractions: readonly number[]): Buffer[] => {
  const places = fractions.map((it) => Math.floor(it * wire.length)).sort((a, b) => a - b)
  return [0, ...places].map((from, i) => wire.subarray(from, places[i] ?? wire.length))
}
const fractions = fc.array(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), { maxLength: 12 })

test('any replies are read as they were written, however the wire is cut', () => {
  fc.assert(
    fc.property(
      fc.array(sample, { minLength: 1, maxLength: 4 }),
      fractions,
      fc.boolean(),
      (all, cuts, asBytes) => {
        const wire = Buffer.concat(wires(all))
        const decoded = decode(cutAt(wire, cuts), { asBytes })
        assert.deepEqual(
          decoded.map(({ value }) => value),
          all.map(({ value, bytes }) => (asBytes ? bytes : value)),
        )
      },
    ),
    { numRuns: 1000 },
  )
})

test('any push among replies is read as one', () => {
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 4 }), fractions, (items, cuts) => {
      const wire = Buffer.concat([write.integer(1), write.push(...wires(items)), write.integer(2)])
      const expected: Decoded[] = [
        { value: 1, isPush: false, attributes: [] },
        { value: items.map(({ value }) => value), isPush: true, attributes: [] },
        { value: 2, isPush: false, attributes: [] },
      ]
      const decoded = decode(cutAt(wire, cuts), { asBytes: true })
      assert.deepEqual(
        decoded.map(({ value, isPush }) => ({ value, isPush, attributes: [] })),
        expected,
      )
    }),
    { numRuns: 300 },
  )
})

const RUNS = 50_000

test(`${RUNS} damaged wires are read as by the reference decoder, to the same end, however they are cut`, () => {
  const seed = freshSeed()
  const random = randomNumbers(seed)
  const wholes = fc.sample(sample, { numRuns: 200, seed }).map(({ wire }) => wire)
  const wires = [...corpus, ...wholes.filter(({ length }) => length < 200)]
  const ends = { whole: 0, incomplete: 0, undecided: 0, PROTOCOL_ERROR: 0, PROTOCOL_LIMIT: 0 }
  for (let run = 0; run < RUNS; run += 1) {
    const wire = mutate(random, wires)
    const comparison = {
      asBytes: random(2) === 0,
      limits: random(2) === 0 ? tightLimits : defaultLimits,
      cuts: randomCuts(random, wire.length),
    }
    try {
      ends[compareDecoders(wire, comparison).end] += 1
    } catch (error) {
      throw new Error(`RESPOOL_SEED=${seed}, run ${run}: ${(error as Error).message}`, { cause: error })
    }
  }
  // a run in which nothing is refused, or all is, tests nothing
  const told = `RESPOOL_SEED=${seed}: ${JSON.stringify(ends)}`
  assert.ok(ends.whole > RUNS / 50 && ends.incomplete > RUNS / 50, told)
  assert.ok(ends.PROTOCOL_ERROR > RUNS / 10 && ends.PROTOCOL_LIMIT > RUNS / 200, told)
})
