import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HoldQueue, type HoldRequest, type Target, type Waiting } from '../../lib/endpoint/index.ts'
import { AbortError, ConnectionError, PoolError, TimeoutError } from '../../lib/errors.ts'
import { settled } from '../support/clock.ts'
import { runProgram } from '../support/program.ts'

const LIMITS = { maxHeld: 3, maxHeldBytes: 100 }
const lost = new ConnectionError('CONNECTION_LOST', 'it broke', { address: 'here', phase: 'ready' })

function queueOf(reason?: Error, limits = LIMITS): HoldQueue {
  return new HoldQueue('connection to there', limits, () => reason)
}

function request(options: Partial<HoldRequest> = {}): HoldRequest {
  return { bytes: 1, expiresAt: Number.POSITIVE_INFINITY, timeout: 0, ...options }
}

function within(timeout: number, bytes = 1): HoldRequest {
  return { bytes, timeout, expiresAt: performance.now() + timeout }
}

test('a release lets all go on, in the order in which they came', async () => {
  const queue = queueOf()
  const order: number[] = []
  const all = [1, 2, 3].map((i) => queue.wait(request()).then(() => order.push(i)))
  assert.equal(queue.length, 3)
  queue.release()
  assert.equal(queue.length, 0)
  await Promise.all(all)
  assert.deepEqual(order, [1, 2, 3])
})

test('a release lets go on who waits then, not who comes later', async () => {
  const queue = queueOf()
  queue.release()
  let isReleased = false
  const late = queue.wait(request()).then(() => {
    isReleased = true
  })
  await settled()
  assert.equal(isReleased, false)
  queue.release()
  await late
})

test('one too many is refused with the numbers, and those that wait are not disturbed', async () => {
  const queue = queueOf(lost)
  const all = [1, 2, 3].map(() => queue.wait(request({ bytes: 10 })))
  await assert.rejects(queue.wait(request()), (error) => {
    assert.ok(error instanceof PoolError)
    assert.equal(error.code, 'QUEUE_FULL')
    assert.equal(error.mayHaveExecuted, false)
    assert.equal(error.cause, lost)
    assert.match(error.message, /3 commands of 30 bytes wait .*limits are 3 and 100 bytes/)
    return true
  })
  queue.release()
  await Promise.all(all)
})

test('bytes are bounded too, and those of who has left count no more', async () => {
  const queue = queueOf()
  const first = queue.wait(request({ bytes: 60 }))
  await assert.rejects(queue.wait(request({ bytes: 41 })), { code: 'QUEUE_FULL' })
  const second = queue.wait(request({ bytes: 40 }))
  queue.release()
  await Promise.all([first, second])
  const third = queue.wait(request({ bytes: 100 }))
  queue.release()
  await third
})

test('who waits in vain is told the deadline and the reason', async () => {
  const queue = queueOf(lost)
  const start = performance.now()
  await assert.rejects(queue.wait(within(20)), (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.equal(error.timeout, 20)
    assert.equal(error.mayHaveExecuted, false)
    assert.equal(error.cause, lost)
    assert.equal(error.message, 'no connection to there within 20 ms: it broke')
    return true
  })
  assert.ok(performance.now() - start >= 19)
  assert.equal(queue.length, 0)
})

test('without a reason the error has no cause', async () => {
  await assert.rejects(queueOf().wait(within(0.001)), (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.equal('cause' in error, false)
    return true
  })
})

test('each has its own deadline', async () => {
  const queue = queueOf()
  const ends: string[] = []
  const long = queue.wait(within(60)).catch(() => ends.push('long'))
  const short = queue.wait(within(15)).catch(() => ends.push('short'))
  const endless = queue.wait(request()).then(() => ends.push('endless'))
  await Promise.all([long, short])
  assert.deepEqual(ends, ['short', 'long'])
  assert.equal(queue.length, 1)
  queue.release()
  await endless
})

test('a deadline that has passed already is told at once, and takes no place', async () => {
  const queue = queueOf(lost)
  const waiting = queue.wait({ bytes: 1, timeout: 5, expiresAt: performance.now() - 1 })
  assert.equal(queue.length, 0)
  await assert.rejects(waiting, { code: 'COMMAND_TIMEOUT' })
})

test('a signal ends one wait, gives its place back, and is left alone afterwards', async () => {
  const queue = queueOf()
  const abort = new AbortController()
  const reason = new Error('enough')
  const all = [1, 2, 3].map(() => queue.wait(request({ signal: abort.signal, bytes: 30 })))
  abort.abort(reason)
  for (const one of all) {
    await assert.rejects(one, (error) => error instanceof AbortError && error.cause === reason)
  }
  assert.equal(queue.length, 0)
  await assert.rejects(queue.wait(request({ signal: abort.signal })), { code: 'ABORT_ERR' })

  const later = new AbortController()
  let listeners = 0
  const { signal } = later
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = ((...args: Parameters<typeof add>) => {
    listeners += 1
    add(...args)
  }) as typeof add
  signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
    listeners -= 1
    remove(...args)
  }) as typeof remove
  const released = queue.wait(request({ signal, bytes: 100 }))
  assert.equal(listeners, 1)
  queue.release()
  await released
  assert.equal(listeners, 0)
})

test('a release that is for some lets those go on whose target is there, asked once for each', async () => {
  const queue = queueOf(undefined, { maxHeld: 10, maxHeldBytes: 100 })
  const order: string[] = []
  const wait = (name: string, target?: () => Target) =>
    queue.wait(request({ target })).then(() => order.push(name))
  let changing: Target = 'write'
  const all = [
    wait('a write', () => 'write'),
    wait('a read', () => 'replica'),
    wait('another read', () => 'replica'),
    wait('anything'),
    wait('what changes', () => changing),
    wait('another write', () => 'write'),
  ]
  const asked: Target[] = []
  queue.release((target) => {
    asked.push(target)
    return target === 'replica'
  })
  await settled()
  assert.deepEqual(asked, ['write', 'replica'])
  assert.deepEqual(order, ['a read', 'another read', 'anything'])
  changing = 'replica'
  queue.release((target) => target === 'replica')
  await settled()
  assert.deepEqual(order.slice(3), ['what changes'])
  queue.release()
  await Promise.all(all)
  assert.deepEqual(order.slice(4), ['a write', 'another write'])
})

test('who waits without a promise is told at the release itself, in order, and may wait again', () => {
  const queue = queueOf()
  const told: string[] = []
  const waiting = (name: string, times: number): Waiting => {
    const one: Waiting = {
      ...request(),
      proceed: () => {
        told.push(name)
        times -= 1
        if (times > 0) queue.add(one)
      },
      fail: (error) => told.push(`${name}: ${error.message}`),
    }
    return one
  }
  queue.add(waiting('a', 2))
  queue.add(waiting('b', 1))
  queue.add(waiting('c', 3))
  queue.add({ ...waiting('d', 1), fail: (error) => told.push((error as PoolError).code) })
  assert.deepEqual(told, ['QUEUE_FULL'], 'who is refused is told at once')
  queue.release()
  assert.deepEqual(told.slice(1), ['a', 'b', 'c'])
  assert.equal(queue.length, 2)
  queue.release()
  assert.deepEqual(told.slice(4), ['a', 'c'])
  queue.fail(lost)
  assert.deepEqual(told.slice(6), ['c: it broke'])
})

test('in the middle of the queue a wait can end without the others noticing', async () => {
  const queue = queueOf()
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()]
  const order: number[] = []
  const all = [first, second, third].map(({ signal }, i) =>
    queue.wait(request({ signal })).then(
      () => order.push(i),
      () => order.push(-i),
    ),
  )
  second.abort()
  assert.equal(queue.length, 2)
  third.abort()
  assert.equal(queue.length, 1)
  const last = queue.wait(request()).then(() => order.push(3))
  queue.release()
  await Promise.all([...all, last])
  assert.deepEqual(order, [-1, -2, 0, 3])
  assert.equal(queue.length, 0)
})

test('who asks is told when nobody waits any more', async () => {
  const queue = queueOf()
  await queue.emptied
  const waits = [queue.wait(request()), queue.wait(request())]
  let isEmpty = false
  const emptied = queue.emptied.then(() => {
    isEmpty = true
  })
  await settled()
  assert.equal(isEmpty, false)
  queue.release()
  await Promise.all([...waits, emptied])
})

test('when it is known that nothing will come, all fail with that error', async () => {
  const queue = queueOf()
  const all = [1, 2].map(() => queue.wait(request()))
  queue.fail(lost)
  assert.equal(queue.length, 0)
  for (const one of all) await assert.rejects(one, (error) => error === lost)
  const next = queue.wait(request())
  queue.release()
  await next
})

test('a wait keeps its process alive until it has ended', async (t) => {
  const url = new URL(
    import.meta.url.endsWith('.ts') ? '../../lib/endpoint/index.ts' : '../../lib/endpoint/index.js',
    import.meta.url,
  )
  const program = `
    import { HoldQueue } from ${JSON.stringify(url.href)}
    const queue = new HoldQueue('it', { maxHeld: 9, maxHeldBytes: 9 }, () => undefined)
    queue.wait({ bytes: 1, timeout: 50, expiresAt: performance.now() + 50 }).catch((error) => console.log(error.code))
    const left = queue.wait({ bytes: 1, timeout: 60_000, expiresAt: performance.now() + 60_000 })
    setTimeout(() => queue.release(), 100)
    await left
  `
  const start = performance.now()
  const { stdout } = await runProgram(t, program)
  assert.equal(stdout, 'COMMAND_TIMEOUT\n')
  assert.ok(performance.now() - start < 30_000, 'a deadline that is no longer awaited keeps no process')
})

test('several commands that wait as one count as many', async () => {
  const queue = queueOf()
  const two = queue.wait(request({ count: 2 }))
  await assert.rejects(queue.wait(request({ count: 2 })), /2 commands of 1 bytes wait/)
  const one = queue.wait(request())
  await assert.rejects(queue.wait(request()), /3 commands of 2 bytes wait/)
  queue.release()
  await Promise.all([two, one])
  await assert.rejects(queue.wait(request({ count: 4 })), { code: 'QUEUE_FULL' })
})

test('of those who wait the first few can be let go alone', async () => {
  const queue = queueOf()
  const order: number[] = []
  const all = [0, 1, 2].map((i) => queue.wait(request()).then(() => order.push(i)))
  queue.releaseFirst(0)
  assert.equal(queue.length, 3)
  queue.releaseFirst(2)
  await settled()
  assert.deepEqual(order, [0, 1])
  queue.releaseFirst(Number.POSITIVE_INFINITY)
  await Promise.all(all)
})

test('who is let go may end the wait of others, and none behind them is left out', () => {
  const queue = queueOf()
  const told: string[] = []
  const ending = new AbortController()
  const waiting = (name: string, signal?: AbortSignal, proceed = (): void => undefined): Waiting => ({
    ...request({ signal }),
    proceed: () => {
      told.push(name)
      proceed()
    },
    fail: ({ name: why }) => told.push(`${name}: ${why}`),
  })
  queue.add(waiting('a', undefined, () => ending.abort()))
  queue.add(waiting('b', ending.signal))
  queue.add(waiting('c'))
  queue.release()
  assert.deepEqual(told, ['a', 'b: AbortError', 'c'])
  assert.equal(queue.length, 0)
})
