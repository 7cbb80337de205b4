import assert from 'node:assert/strict'
import type { LookupFunction } from 'node:net'
import { test } from 'node:test'
import { SameServer } from '../../lib/sentinel/same-server.ts'

/** Knows some names, and counts who is asked for; `'hangs'` never answers, other names are not found. */
function resolver(names: Readonly<Record<string, readonly string[] | 'hangs'>>) {
  const asked: string[] = []
  const lookup = ((host: string, _: unknown, callback: (...args: unknown[]) => void) => {
    asked.push(host)
    const found = names[host]
    if (found === 'hangs') return
    if (found === undefined) setImmediate(callback, new Error(`getaddrinfo ENOTFOUND ${host}`))
    else
      setImmediate(
        callback,
        null,
        found.map((address) => ({ address, family: 4 })),
      )
  }) as LookupFunction
  return { asked, lookup }
}

test('what the text decides is decided at once', () => {
  const { asked, lookup } = resolver({})
  const servers = new SameServer({ lookup })
  const rows: [string, string, boolean][] = [
    ['10.0.0.1:1', '10.0.0.1:1', true],
    ['10.0.0.1:1', '10.0.0.2:1', false],
    ['10.0.0.1:1', '10.0.0.1:2', false],
    ['db:1', 'db:2', false],
    ['db:1', '10.0.0.1:2', false],
    ['DB.example:1', 'db.Example.:1', true],
    ['[::1]:1', '[0:0:0:0:0:0:0:1]:1', true],
    ['[2001:DB8::1]:1', '[2001:db8:0::1]:1', true],
    ['[fe80::1%eth0]:1', '[FE80:0::1%eth0]:1', true],
    ['[fe80::1%eth0]:1', '[fe80::1%eth1]:1', false],
    ['[::ffff:10.0.0.1]:1', '10.0.0.1:1', true],
    ['[::ffff:a00:1]:1', '10.0.0.1:1', true],
    ['[::1]:1', '127.0.0.1:1', false],
  ]
  for (const [a, b, expected] of rows) {
    assert.equal(servers.isSame(a, b), expected, `${a} ${b}`)
    assert.equal(servers.isSame(b, a), expected, `${b} ${a}`)
  }
  assert.deepEqual(asked, [])
})

test('a name is the same server as each of its addresses, and as another name of it', async () => {
  const { lookup } = resolver({
    db: ['10.0.0.1', '::ffff:10.0.0.2'],
    alias: ['10.0.0.2'],
    other: ['10.0.0.3'],
  })
  const servers = new SameServer({ lookup })
  assert.equal(await servers.isSame('db:1', '10.0.0.1:1'), true)
  assert.equal(await servers.isSame('10.0.0.2:1', 'DB:1'), true)
  assert.equal(await servers.isSame('db:1', 'alias:1'), true)
  assert.equal(await servers.isSame('db:1', 'other:1'), false)
  assert.equal(await servers.isSame('db:1', '10.0.0.9:1'), false)
})

test('the system knows localhost', async () => {
  assert.equal(await new SameServer({}).isSame('localhost:1', '127.0.0.1:1'), true)
})

test('what was found is kept for five seconds, what was not for one', async () => {
  let now = 0
  const { asked, lookup } = resolver({ db: ['10.0.0.1'] })
  const servers = new SameServer({ lookup, now: () => now })
  const ask = async (at: number) => {
    now = at
    await servers.isSame('db:1', '10.0.0.1:1')
    await servers.isSame('gone:1', '10.0.0.1:1')
    return asked.join(' ')
  }
  assert.equal(await ask(0), 'db gone')
  assert.equal(await ask(999), 'db gone')
  assert.equal(await ask(1_000), 'db gone gone')
  assert.equal(await ask(4_999), 'db gone gone gone')
  assert.equal(await ask(5_000), 'db gone gone gone db')
})

test('a name that cannot be found, whose lookup throws, or gives garbage is no other server', async () => {
  const rows: LookupFunction[] = [
    resolver({}).lookup,
    () => {
      throw new Error('no resolver')
    },
    ((_: string, __: unknown, callback: (...args: unknown[]) => void) =>
      callback(null, undefined)) as LookupFunction,
    ((_: string, __: unknown, callback: (...args: unknown[]) => void) =>
      callback(null, [{}])) as LookupFunction,
  ]
  for (const lookup of rows) {
    assert.equal(await new SameServer({ lookup }).isSame('db:1', '10.0.0.1:1'), false)
  }
})

test('a lookup that gives one address though all were asked for is understood', async () => {
  const lookup = ((_: string, __: unknown, callback: (...args: unknown[]) => void) =>
    callback(null, '10.0.0.1', 4)) as LookupFunction
  assert.equal(await new SameServer({ lookup }).isSame('db:1', '10.0.0.1:1'), true)
})

test('a lookup that hangs delays the answer by a moment only', async () => {
  const { lookup } = resolver({ db: 'hangs' })
  const start = performance.now()
  assert.equal(await new SameServer({ lookup }).isSame('db:1', '10.0.0.1:1'), false)
  assert.ok(performance.now() - start < 1_000)
})

test('the names that are kept are bounded in number', async () => {
  const { lookup } = resolver({})
  const servers = new SameServer({ lookup })
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => servers.isSame(`n${i}:1`, '10.0.0.1:1')))
  assert.ok(servers.size <= 256)
})
