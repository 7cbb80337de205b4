import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Recurring } from '../../lib/sentinel/recurring.ts'

const settled = () => new Promise((resolve) => setImmediate(resolve))

test('calls that come while it runs are answered by one more run', async () => {
  let runs = 0
  let finish = () => undefined as undefined
  const task = new Recurring(
    () =>
      new Promise((resolve) => {
        runs += 1
        finish = () => void resolve()
      }),
    () => 1_000_000,
  )
  task.soon()
  task.soon()
  task.soon()
  assert.equal(runs, 1)
  finish()
  await settled()
  assert.equal(runs, 2)
  finish()
  await settled()
  assert.equal(runs, 2)
  task.stop()
})

test('it runs again after its pause, and not after it was stopped', async () => {
  const { timers } = mock
  timers.enable({ apis: ['setTimeout'] })
  try {
    let runs = 0
    const task = new Recurring(
      async () => {
        runs += 1
      },
      () => 100,
    )
    task.soon()
    await settled()
    timers.tick(99)
    assert.equal(runs, 1)
    timers.tick(1)
    assert.equal(runs, 2)
    await settled()
    task.stop()
    timers.tick(1_000)
    task.soon()
    assert.equal(runs, 2)
  } finally {
    timers.reset()
  }
})

test('one that is stopped while it runs does not run again', async () => {
  let runs = 0
  const task = new Recurring(
    async () => {
      runs += 1
    },
    () => 0,
  )
  task.soon()
  task.soon()
  task.stop()
  await settled()
  assert.equal(runs, 1)
})

test('calls that come by the hundred begin a run at the first and then one for each gap', async () => {
  const { timers } = mock
  timers.enable({ apis: ['setTimeout'] })
  let now = 1_000
  const clock = mock.method(performance, 'now', () => now)
  try {
    let runs = 0
    const task = new Recurring(
      async () => {
        runs += 1
      },
      () => 1_000_000,
      20,
    )
    const pass = async (ms: number) => {
      now += ms
      timers.tick(ms)
      await settled()
    }
    task.soon()
    assert.equal(runs, 1, 'the first is not delayed')
    await settled()
    for (let i = 0; i < 100; i += 1) {
      task.soon()
      await pass(1)
    }
    assert.equal(runs, 1 + 5)
    await pass(1_000)
    assert.equal(runs, 1 + 5)
    task.soon()
    assert.equal(runs, 2 + 5, 'after a pause, neither')
    task.stop()
  } finally {
    clock.mock.restore()
    timers.reset()
  }
})
