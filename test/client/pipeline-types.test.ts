// The types of chains: what compiles and what does not; `tsc` is the test of the lines marked as errors. And what they
// cost the compiler is in commands-compile.test.ts.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pipeline, SettledResults } from '../../lib/client/index.ts'
import { createClient } from '../../lib/index.ts'
import type { Reply } from '../../lib/resp/index.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Fails to compile where the promise is of anything but `T`; nothing is run. */
function gives<T>() {
  return <U>(_: () => Promise<U>, same: Same<T, U>): void => assert.ok(same)
}

const redis = createClient({ port: 1 })
const bytes = redis.with({ replies: 'buffer' })

test('the values of a chain are a tuple, each of its own type', () => {
  gives<[string | null, number | bigint]>()(() => redis.pipeline().get('a').incr('n').exec(), true)
  gives<[Buffer | null, number]>()(() => bytes.pipeline().get('a').del('k').exec(), true)
  gives<['OK', Record<string, string>]>()(() => redis.multi().set('a', 1).hgetall('h').exec(), true)
  gives<[string[], [string, number][]]>()(
    () => redis.pipeline().zrange('z', 0, -1).zrange('z', 0, -1, 'WITHSCORES').exec(),
    true,
  )
  gives<[Reply, string | null]>()(() => redis.session().pipeline().call('X').get('k').exec(), true)
  gives<[]>()(() => redis.pipeline().exec(), true)
  gives<SettledResults<[string | null, number]>>()(
    () => redis.pipeline().get('k').del('k').execSettled(),
    true,
  )
})

test('what a loop adds is what the caller says it is', () => {
  gives<(string | null)[]>()(async () => {
    const chain = redis.pipeline<(string | null)[]>()
    for (const key of ['a', 'b']) chain.get(key)
    return await chain.exec()
  }, true)
  const chain: Pipeline<unknown[]> = redis.pipeline().get('k')
  assert.equal(chain.length, 1)
})

test('a transaction gives the values of the chain that was returned, or undefined where there may be none', () => {
  gives<[number | bigint, number]>()(
    () => redis.transaction('k', (tx) => tx.multi().decr('k').rpush('l', 'x')),
    true,
  )
  gives<[number | bigint] | undefined>()(
    () =>
      redis.transaction(['k'], async (tx) => {
        if ((await tx.get('k')) === null) return
        return tx.multi().decr('k')
      }),
    true,
  )
  gives<[Buffer | null]>()(() => bytes.transaction('k', (tx) => tx.multi().get('k')), true)
  gives<undefined>()(
    () =>
      redis.transaction('k', async (tx) => {
        await tx.get('k')
      }),
    true,
  )
})

test('misuse does not compile', () => {
  const chain = redis.pipeline()
  const misuses: (() => unknown)[] = [
    // @ts-expect-error: an argument too few
    () => chain.get(),
    // @ts-expect-error: no such option
    () => chain.set('k', 'v', 'NEVER'),
    // @ts-expect-error: it can only block
    () => chain.blpop('q', 0),
    // @ts-expect-error: it changes its connection
    () => chain.watch('k'),
    // @ts-expect-error: a promise has methods of its own
    () => chain.exec().get('k'),
    async () => {
      // @ts-expect-error: there are two values
      const [, , third] = await redis.pipeline().get('a').get('b').exec()
      return third
    },
    // @ts-expect-error: it is returned, not executed
    () => redis.transaction('k', (tx) => tx.multi().get('k').exec()),
    // @ts-expect-error: a transaction of its own is not the end of this one
    () => redis.transaction('k', () => redis.multi().get('k')),
    // @ts-expect-error: no chain at all
    () => redis.transaction('k', () => 1),
  ]
  assert.equal(misuses.length, 9)
})
