import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Deadlines } from '../../lib/connection/deadline.ts'

/** A clock that stands still until it is told the time, and the timers that were set on it. */
function still(t: TestContext) {
  const timers: { delay: number; run: () => void; isRef: boolean; isCleared: boolean }[] = []
  let now = 1000
  t.mock.method(performance, 'now', () => now)
  t.mock.method(globalThis, 'setTimeout', (run: () => void, delay: number) => {
    const timer = {
      delay,
      run,
      isRef: true,
      isCleared: false,
      unref: () => Object.assign(timer, { isRef: false }),
    }
    timers.push(timer)
    return timer
  })
  t.mock.method(globalThis, 'clearTimeout', (timer: { isCleared: boolean } | undefined) => {
    if (timer !== undefined) timer.isCleared = true
  })
  return {
    timers,
    get armed() {
      return timers.filter((timer) => !timer.isCleared)
    },
    pass(ms: number) {
      now += ms
    },
  }
}

test('one timer stands for all deadlines: it is set for the earliest only', (t) => {
  const clock = still(t)
  const deadlines = new Deadlines(() => Number.POSITIVE_INFINITY, { keepsProcess: false })
  deadlines.add(1500)
  deadlines.add(1500)
  deadlines.add(2000)
  assert.deepEqual(
    clock.timers.map((it) => it.delay),
    [501],
  )
  deadlines.add(1200)
  assert.deepEqual(
    clock.armed.map((it) => it.delay),
    [201],
  )
})

test('the timer asks who is due, and is set again for the next of them', (t) => {
  const clock = still(t)
  const asked: number[] = []
  const next = [1700, Number.POSITIVE_INFINITY]
  const onDue = (now: number) => {
    asked.push(now)
    return next.shift() ?? Number.POSITIVE_INFINITY
  }
  const deadlines = new Deadlines(onDue, { keepsProcess: false })
  deadlines.add(1500)
  clock.pass(501)
  clock.timers[0]?.run()
  assert.deepEqual(asked, [1502])
  assert.equal(clock.timers[1]?.delay, 200)
  clock.pass(200)
  clock.timers[1]?.run()
  assert.equal(clock.timers.length, 2)
  deadlines.add(1900)
  assert.equal(clock.timers.length, 3)
})

test('a deadline that has passed already is due in the next turn', (t) => {
  const clock = still(t)
  new Deadlines(() => Number.POSITIVE_INFINITY, { keepsProcess: false }).add(1)
  assert.equal(clock.timers[0]?.delay, 1)
})

test('a deadline beyond the reach of a timer is asked for again, not at once and not never', (t) => {
  const clock = still(t)
  const far = 1000 + 2 ** 32
  const deadlines = new Deadlines(() => far, { keepsProcess: false })
  deadlines.add(far)
  assert.equal(clock.timers[0]?.delay, 2 ** 31 - 1)
  clock.pass(2 ** 31 - 1)
  clock.timers[0]?.run()
  assert.equal(clock.timers[1]?.delay, 2 ** 31 - 1)
  clock.pass(2 ** 31 - 1)
  clock.timers[1]?.run()
  assert.equal(clock.timers[2]?.delay, 3)
})

test('after stop() nothing is due until something new is', (t) => {
  const clock = still(t)
  const deadlines = new Deadlines(() => assert.fail('stopped'), { keepsProcess: false })
  deadlines.add(1500)
  deadlines.stop()
  assert.deepEqual(clock.armed, [])
  deadlines.add(1600)
  assert.equal(clock.armed.length, 1)
})

test('a process stays alive for deadlines only where it is asked to', (t) => {
  const clock = still(t)
  new Deadlines(() => Number.POSITIVE_INFINITY, { keepsProcess: false }).add(1500)
  new Deadlines(() => Number.POSITIVE_INFINITY, { keepsProcess: true }).add(1500)
  assert.deepEqual(
    clock.timers.map((it) => it.isRef),
    [false, true],
  )
})
