import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { type Candidate, FailoverWatch } from '../../lib/sentinel/failover-watch.ts'

const LEADER = '127.0.0.1:26379'
const OTHER = '127.0.0.1:26380'
const REPLICA = '127.0.0.1:6380'
const TRY = 'master localmaster 127.0.0.1 6379'
const selected = (address: string) => {
  const [host, port] = address.split(':')
  return `slave ${address} ${host} ${port} @ localmaster 127.0.0.1 6379`
}

/** A server that says it is a master once told to. */
class FakeCandidate implements Candidate {
  readonly address: string
  isMaster = false
  asked = 0
  fenced: Error | undefined

  constructor(address: string) {
    this.address = address
  }

  connect(): Promise<void> {
    this.asked += 1
    return this.isMaster ? Promise.resolve() : Promise.reject(new Error('says its role is slave'))
  }

  fence(error: Error): void {
    this.fenced = error
  }
}

function watch({ adoptsEarly = true, replicas = [REPLICA] } = {}) {
  const opened: FakeCandidate[] = []
  const won: [string, string][] = []
  const aborted: string[] = []
  const failover = new FailoverWatch<FakeCandidate>(
    {
      isReplica: (address) => replicas.includes(address),
      open: (address) => {
        const candidate = new FakeCandidate(address)
        opened.push(candidate)
        return candidate
      },
      onWon: (candidate, leader) => won.push([candidate.address, leader]),
      onAborted: (leader) => aborted.push(leader),
    },
    { adoptsEarly },
  )
  return { failover, opened, won, aborted }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

test('nothing is held before a failover begins', () => {
  assert.equal(watch().failover.isOn, false)
})

test('writes are held from the first try on', () => {
  const { failover } = watch()
  failover.heed(LEADER, '+try-failover', TRY)
  assert.equal(failover.isOn, true)
})

test('an event of another kind holds nothing', () => {
  const { failover, opened } = watch()
  for (const channel of ['+sdown', '+odown', '+new-epoch', '+switch-master', '+slave']) {
    failover.heed(LEADER, channel, TRY)
  }
  assert.equal(failover.isOn, false)
  assert.deepEqual(opened, [])
})

test('a failover that is not heard of again is not held for ever', (t) => {
  const { failover } = watch()
  const start = performance.now()
  failover.heed(LEADER, '+try-failover', TRY)
  t.mock.method(performance, 'now', () => start + 6_000)
  assert.equal(failover.isOn, false)
})

test('the abort of the leader ends the hold', () => {
  const { failover, aborted } = watch()
  failover.heed(LEADER, '+try-failover', TRY)
  failover.heed(LEADER, '-failover-abort-not-elected', TRY)
  assert.equal(failover.isOn, false)
  assert.deepEqual(aborted, [LEADER])
})

test('the abort of a sentinel that does not lead ends nothing', () => {
  const { failover } = watch()
  failover.heed(OTHER, '+try-failover', TRY)
  failover.heed(LEADER, '+try-failover', TRY)
  failover.heed(OTHER, '-failover-abort-not-elected', TRY)
  assert.equal(failover.isOn, true)
})

test('the selected replica is asked until it is a master, and then won once', async () => {
  const timers = mock.timers
  timers.enable({ apis: ['setTimeout'] })
  try {
    const { failover, opened, won } = watch()
    failover.heed(LEADER, '+selected-slave', selected(REPLICA))
    for (let asked = 1; asked <= 3; asked += 1) {
      await settled()
      assert.equal(opened[0]?.asked, asked)
      timers.tick(15)
    }
    const [candidate] = opened
    assert.ok(candidate)
    candidate.isMaster = true
    await settled()
    timers.tick(15)
    await settled()
    assert.deepEqual(won, [[REPLICA, LEADER]])
    assert.equal(candidate.fenced, undefined, "it is the winner's from now on")
    assert.equal(failover.isOn, false)
    timers.tick(1_000)
    await settled()
    assert.equal(won.length, 1)
  } finally {
    timers.reset()
  }
})

test('a server that is no replica of ours is not courted', () => {
  const { failover, opened } = watch({ replicas: [] })
  failover.heed(LEADER, '+selected-slave', selected(REPLICA))
  assert.deepEqual(opened, [])
  assert.equal(failover.isOn, true)
})

test('nobody is courted where adoption waits for the announcement', () => {
  const { failover, opened } = watch({ adoptsEarly: false })
  failover.heed(LEADER, '+selected-slave', selected(REPLICA))
  assert.deepEqual(opened, [])
  assert.equal(failover.isOn, true)
})

test('a malformed event courts nobody', () => {
  const { failover, opened } = watch()
  for (const payload of ['', 'slave', 'slave x y z', 'master localmaster 127.0.0.1 6380']) {
    failover.heed(LEADER, '+selected-slave', payload)
  }
  assert.deepEqual(opened, [])
})

test('the same candidate named twice is courted once, another one replaces it', () => {
  const second = '127.0.0.1:6381'
  const { failover, opened } = watch({ replicas: [REPLICA, second] })
  failover.heed(LEADER, '+selected-slave', selected(REPLICA))
  failover.heed(LEADER, '+selected-slave', selected(REPLICA))
  failover.heed(LEADER, '+selected-slave', selected(second))
  assert.deepEqual(
    opened.map(({ address }) => address),
    [REPLICA, second],
  )
  assert.ok(opened[0]?.fenced)
  failover.end()
})

test('a candidate that becomes a master after the end is not won', async () => {
  const { failover, opened, won } = watch()
  failover.heed(LEADER, '+selected-slave', selected(REPLICA))
  const [candidate] = opened
  assert.ok(candidate)
  candidate.isMaster = true
  failover.end()
  await settled()
  assert.deepEqual(won, [])
  assert.ok(candidate.fenced)
})
