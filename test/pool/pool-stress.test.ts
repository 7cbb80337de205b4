// Many pools, each with random options, through random operations by random hands: dials that hang, fail or give
// nonsense, tests that hang or throw, clean-ups that stall, resets that succeed, fail or hang, borrowers that abort,
// connections that break, ends at any time, new generations, drains, silent sweepers. After every operation the
// invariants hold. A failure names its seed; RESPOOL_SEED runs it again.

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { RespoolError } from '../../lib/errors.ts'
import { type Lease, Pool, type PoolOptions } from '../../lib/pool/index.ts'
import { ManualClock, settled } from '../support/clock.ts'
import { CountingDialer } from '../support/counting-dialer.ts'
import type { FakeConnection, FakeEvents } from '../support/fake-connection.ts'
import { ResettableConnection } from '../support/resettable-connection.ts'

const STEPS = 50_000
const STEPS_OF_A_POOL = 300
const COMMANDS = [
  'PING',
  'WATCH k',
  'UNWATCH',
  'MULTI',
  'MULTI x',
  'EXEC',
  'DISCARD',
  'SUBSCRIBE c',
  'SSUBSCRIBE s',
]
const RARE_COMMANDS = ['SELECT 1', 'MONITOR', 'BLPOP k 0', 'CLIENT REPLY OFF']
/** Of those, what costs a connection only if it has no reset(). */
const UNDONE_BY_RESET = ['SELECT 1', 'MONITOR']

const RETIRED = new Error('retired')

/** A generator of numbers from 0 to below 1, the same for the same seed (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** What waits for {@link Scene.step} to end it. */
interface Held {
  readonly end: (error?: Error) => void
}

interface Call {
  readonly controller: AbortController
  isSettled: boolean
}

/** One pool and all who deal with it. */
class Scene {
  readonly pool: Pool<FakeConnection>
  readonly dialer: CountingDialer
  readonly clock = new ManualClock()
  readonly #random: () => number
  readonly #maxIdle: number
  readonly #maxActive: number
  readonly #maxWaiting: number
  readonly #maxConcurrentDials: number
  readonly #waits: boolean
  /** Whether some may wait for their turn to dial. */
  readonly #takesTurns: boolean
  readonly #tick: (ms: number) => void
  /** Signals that several calls share. */
  readonly #shared = [new AbortController(), new AbortController()]
  readonly #calls: Call[] = []
  readonly #leases = new Set<Lease<FakeConnection>>()
  readonly #lent = new Set<FakeConnection>()
  readonly #tests: (Held & { readonly signal: AbortSignal })[] = []
  readonly #resets: Held[] = []
  /** Those that their dialer has altered: no reset is to undo that. */
  readonly #altered = new Set<ResettableConnection>()
  readonly #canReset: boolean
  readonly #closing: Promise<void>[] = []
  /** Promises of the pool that must come to an end with it, and how many have. */
  readonly #promised: Promise<unknown>[] = []
  #ended: 'draining' | 'closed' | 'destroyed' | undefined
  served = 0
  /** Leases of connections that had been reset. */
  servedAgain = 0

  constructor(random: () => number, tick: (ms: number) => void) {
    this.#random = random
    this.#tick = tick
    this.#maxIdle = this.#below(4)
    this.#maxActive = this.#below(5)
    this.#waits = this.#chance(0.7)
    this.#maxWaiting = this.#chance(0.3) ? 1 + this.#below(4) : 0
    this.#maxConcurrentDials = this.#chance(0.5) ? 1 + this.#below(3) : 0
    const dialBackoff = this.#chance(0.3) ? 30 : 0
    this.#takesTurns = this.#maxConcurrentDials + dialBackoff > 0
    const maxConnLifetime = this.#chance(0.5) ? 400 : 0
    const minIdle = this.#chance(0.3) ? this.#below(1 + Math.min(this.#maxIdle, this.#maxActive || 9)) : 0
    this.#canReset = this.#chance(0.5)
    this.dialer = new CountingDialer(this.#canReset ? (events) => this.#resettable(events) : undefined)
    this.dialer.isHeld = true
    const options: PoolOptions<FakeConnection> = {
      dial: this.dialer.dial,
      maxIdle: this.#maxIdle,
      maxActive: this.#maxActive,
      wait: this.#waits,
      idleTimeout: this.#chance(0.5) ? 100 : 0,
      maxConnLifetime,
      minIdle,
      maxWaiting: this.#maxWaiting,
      maxConcurrentDials: this.#maxConcurrentDials,
      dialBackoff,
      waitTimeout: this.#chance(0.3) ? 60 : 0,
      sweepInterval: this.#chance(0.5) ? 20 : 0,
      lifetimeJitter: maxConnLifetime / 2,
      pingIfIdleLongerThan: this.#chance(0.3) ? 50 : 0,
      distrust: this.#chance(0.5),
      leakTimeout: this.#chance(0.3) ? 50 : 0,
      leakStacks: this.#chance(0.1),
      testOnBorrow: this.#chance(0.5) ? (_connection, _at, signal) => this.#test(signal) : undefined,
      resetTimeout: 50,
    }
    this.pool = new Pool(options, this.clock.now)
  }

  step(): void {
    const operations: readonly (readonly [number, () => void])[] = [
      [6, () => this.#get()],
      [2, () => this.#pick(this.#calls)?.controller.abort()],
      [8, () => this.#command()],
      [6, () => this.#giveBack()],
      [1, () => this.#destroyLease()],
      [6, () => this.#endDial()],
      [4, () => this.#endTest()],
      [4, () => this.#endReset()],
      [0.5, () => this.#alter()],
      [4, () => this.#holdOrAnswer()],
      [1, () => this.#breakOne()],
      [0.3, () => this.pool.retire(RETIRED)],
      [0.5, () => void this.#promised.push(this.pool.warmUp(this.#anySignal()).catch(() => undefined))],
      [2, () => this.clock.advance(this.#below(80))],
      [4, () => this.#passTime(this.#below(30))],
      [0.02, () => this.#drain()],
      [0.05, () => this.#end()],
    ]
    let choice = this.#random() * operations.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, operation] of operations) {
      choice -= weight
      if (choice >= 0) continue
      operation()
      return
    }
  }

  /** What holds at any time, in the middle of a tick too. */
  check(): void {
    const { activeCount, idleCount, waitingCount, dials } = this.pool.stats()
    assert.ok(idleCount >= 0 && idleCount <= activeCount, `${idleCount} idle of ${activeCount}`)
    assert.ok(idleCount <= this.#maxIdle, `${idleCount} idle, maxIdle ${this.#maxIdle}`)
    assert.equal(dials, this.dialer.dialed)
    if (this.#maxActive > 0) assert.ok(activeCount <= this.#maxActive, `${activeCount} active`)
    if ((!this.#waits || this.#maxActive === 0) && !this.#takesTurns) assert.equal(waitingCount, 0)
    if (waitingCount > 0 && !this.#takesTurns)
      assert.equal(activeCount - idleCount, this.#maxActive, 'waiting beside a vacant place')
    if (this.#maxWaiting > 0) assert.ok(waitingCount <= this.#maxWaiting, `${waitingCount} waiting`)
    if (this.#maxConcurrentDials > 0) assert.ok(this.dialer.held.length <= this.#maxConcurrentDials)
    for (const { connection } of this.pool.holders()) assert.equal(connection.ended, undefined)
    for (const { resets } of this.#altered)
      assert.equal(resets, 0, 'a reset undid more than the borrower did')
    if (this.#ended === 'closed' || this.#ended === 'destroyed')
      assert.deepEqual([idleCount, waitingCount], [0, 0])
  }

  /** What holds once all promises have gone on. */
  checkSettled(): void {
    this.check()
    const { activeCount, evictions, hits, misses, waitingCount } = this.pool.stats()
    const dialing = this.dialer.held.length
    const queued = activeCount - dialing - this.dialer.open
    assert.ok(queued >= 0 && queued <= (this.#takesTurns ? waitingCount : 0), 'open are those of the pool')
    const unsettled = this.#calls.filter((call) => !call.isSettled).length
    const attended = unsettled - waitingCount
    assert.ok(attended >= 0, 'waiting without a call')
    assert.ok(attended <= this.#attendedCount(), 'every call is settled, waiting, testing or dialing')
    if (this.#ended === undefined) {
      const evicted = Object.values(evictions).reduce((sum, count) => sum + count, 0)
      assert.equal(this.dialer.connections.length, this.dialer.open + evicted, 'every eviction is counted')
    }
    assert.ok(hits + misses <= this.#calls.length)
  }

  /** Lets everything come to its end; then nothing is left. */
  async finish(): Promise<void> {
    const closed = this.pool.close()
    if (this.#ended !== 'destroyed') this.#ended = 'closed'
    while (!this.#isQuiet()) {
      while (this.#tests.length > 0) this.#endTest()
      while (this.#resets.length > 0) this.#endReset()
      while (this.dialer.held.length > 0) this.#endDial()
      for (const connection of this.dialer.connections) connection.isHeld = false
      for (const connection of this.dialer.connections) connection.answer()
      await settled()
      for (const lease of this.#leases) this.#closeLease(lease)
      this.#passTime(50)
      await settled()
      this.check()
    }
    this.#tick(50) // the bound of those that are stuck in their close()
    await closed
    await Promise.all([...this.#closing, ...this.#promised])
    assert.equal(this.dialer.open, 0)
    assert.equal(this.pool.stats().activeCount, 0)
    for (const { signal } of [...this.#shared, ...this.#calls.map(({ controller }) => controller)]) {
      assert.equal(getEventListeners(signal, 'abort').length, 0, 'a listener was left on a signal')
    }
  }

  #isQuiet(): boolean {
    const isBusy = this.#tests.length + this.dialer.held.length + this.#leases.size > 0
    return !isBusy && this.#calls.every((call) => call.isSettled) && this.dialer.open === 0
  }

  /** Calls for which a test, a PING or a dial may be under way: those whose caller has gone are for nobody. */
  #attendedCount(): number {
    const tests = this.#tests.filter(({ signal }) => !signal.aborted)
    const dials = this.dialer.held.filter(({ signal }) => !signal.aborted || signal.reason === RETIRED)
    const pings = this.dialer.connections.filter(({ pendingCount }) => pendingCount > 0)
    return tests.length + dials.length + pings.length
  }

  #get(): void {
    const isShared = this.#chance(0.2)
    const controller = (isShared ? this.#pick(this.#shared) : undefined) ?? new AbortController()
    const call: Call = { controller, isSettled: false }
    this.#calls.push(call)
    this.pool.get({ signal: controller.signal }).then(
      (lease) => {
        call.isSettled = true
        this.#take(lease)
      },
      (error: unknown) => {
        call.isSettled = true
        assert.ok(error instanceof Error)
      },
    )
  }

  #take(lease: Lease<FakeConnection>): void {
    const { connection } = lease
    this.served++
    if (connection instanceof ResettableConnection && connection.resets > 0) this.servedAgain++
    assert.ok(!this.#lent.has(connection), 'lent twice')
    if (connection.error === undefined) {
      assert.ok(connection.isPristine, `not clean: ${JSON.stringify(connection.server)}`)
      assert.equal(connection.pendingCount, 0, 'replies are owed')
    }
    this.#lent.add(connection)
    this.#leases.add(lease)
  }

  #command(): void {
    const lease = this.#pick([...this.#leases])
    const isAltering = this.#canReset && this.#chance(0.3)
    const others = this.#chance(0.9) ? COMMANDS : RARE_COMMANDS
    const command = this.#pick(isAltering ? UNDONE_BY_RESET : others)
    if (lease === undefined || command === undefined) return
    lease.execute(command.split(' ')).catch(() => undefined) // some are refused, or their connection breaks
  }

  #giveBack(): void {
    const lease = this.#pick([...this.#leases])
    if (lease === undefined) return
    this.#closeLease(lease)
    if (this.#chance(0.1)) void lease.close()
    if (this.#chance(0.05)) lease.destroy()
  }

  #closeLease(lease: Lease<FakeConnection>): void {
    this.#lent.delete(lease.connection)
    this.#leases.delete(lease)
    this.#closing.push(lease.close())
  }

  #destroyLease(): void {
    const lease = this.#pick([...this.#leases])
    if (lease === undefined) return
    this.#lent.delete(lease.connection)
    this.#leases.delete(lease)
    lease.destroy()
  }

  #endDial(): void {
    const [dial] = this.dialer.held.splice(this.#below(this.dialer.held.length), 1)
    if (dial === undefined) return
    if (this.#chance(0.7)) dial.succeed().isStuck = this.#chance(0.1)
    else dial.fail(new Error('no route'))
  }

  #test(signal: AbortSignal): Promise<void> | undefined {
    if (this.#chance(0.2)) throw new Error('a test that throws')
    if (this.#chance(0.2)) return undefined
    return new Promise((resolve, reject) => {
      this.#tests.push({ signal, end: (error) => (error === undefined ? resolve() : reject(error)) })
    })
  }

  #resettable(events: FakeEvents): FakeConnection {
    const connection = new ResettableConnection(events)
    connection.isAltered = this.#chance(0.1)
    if (connection.isAltered) this.#altered.add(connection)
    connection.outcome = () => this.#reset()
    return connection
  }

  #reset(): Promise<void> {
    if (this.#chance(0.5)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#resets.push({ end: (error) => (error === undefined ? resolve() : reject(error)) })
    })
  }

  /** Those that hang for too long were given up, and end for nobody. */
  #endReset(): void {
    const [pending] = this.#resets.splice(this.#below(this.#resets.length), 1)
    pending?.end(this.#chance(0.3) ? new Error('a reset that rejects') : undefined)
  }

  /** By a command that does not pass through the lease. */
  #alter(): void {
    const connection = this.#pick([...this.#lent])
    if (!(connection instanceof ResettableConnection) || connection.isAltered) return
    connection.isAltered = true
    connection.server.others.add('behind its back')
  }

  #endTest(): void {
    const [pending] = this.#tests.splice(this.#below(this.#tests.length), 1)
    pending?.end(this.#chance(0.3) ? new Error('a test that rejects') : undefined)
  }

  #holdOrAnswer(): void {
    const connection = this.#pick(this.dialer.connections.slice(-5))
    if (connection === undefined) return
    connection.isHeld = this.#chance(0.5)
    connection.answer(connection.isHeld ? 1 : undefined)
  }

  #breakOne(): void {
    const lost = new RespoolError('CONNECTION_LOST', 'the peer closed the connection')
    this.#pick(this.dialer.connections)?.break(this.#chance(0.7) ? lost : undefined)
  }

  /** For the pool and its timers alike. */
  #passTime(ms: number): void {
    this.clock.advance(ms)
    this.#tick(ms)
  }

  #anySignal(): { signal?: AbortSignal } {
    const controller = this.#chance(0.5) ? this.#pick(this.#shared) : undefined
    return controller === undefined ? {} : { signal: controller.signal }
  }

  #drain(): void {
    const options = this.#chance(0.3) ? this.#anySignal() : {}
    const isAborted = options.signal?.aborted === true
    if (isAborted) this.#ended = 'destroyed'
    else if (options.signal === undefined) this.#ended ??= 'draining'
    else return // an abort at some later time would be an end of the pool that the scene does not know of
    this.#promised.push(this.pool.drain(options).catch(() => undefined))
  }

  #end(): void {
    if (this.#chance(0.5)) {
      if (this.#ended !== 'destroyed') this.#ended = 'closed'
      this.#closing.push(this.pool.close())
    } else {
      this.#ended = 'destroyed'
      this.pool.destroy(new Error('fenced'))
    }
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  #chance(probability: number): boolean {
    return this.#random() < probability
  }

  #pick<E>(items: readonly E[]): E | undefined {
    return items[this.#below(items.length)]
  }
}

test('whatever happens, no connection, place, call or timer is lost, and none is lent unclean', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const seed = Number(process.env.RESPOOL_SEED ?? Date.now() % 2 ** 31)
  t.diagnostic(`seed ${seed}`)
  const random = createRandom(seed)
  let served = 0
  let servedAgain = 0
  let step = 0
  // what a promise's handler finds has no one else to be told
  const failures: unknown[] = []
  const note = (error: unknown): void => void failures.push(error)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))
  try {
    while (step < STEPS) {
      const scene = new Scene(random, (ms) => t.mock.timers.tick(ms))
      for (const end = step + STEPS_OF_A_POOL; step < end; step++) {
        scene.step()
        scene.check()
        if (random() < 0.5) {
          await settled()
          scene.checkSettled()
        }
        if (failures.length > 0) throw failures[0]
      }
      await scene.finish()
      if (failures.length > 0) throw failures[0]
      served += scene.served
      servedAgain += scene.servedAgain
    }
  } catch (error) {
    throw new Error(`seed ${seed}, step ${step}`, { cause: error })
  }
  t.diagnostic(`${served} leases, ${servedAgain} of connections that were reset`)
  assert.ok(served > STEPS / 50, 'the scene is not lively enough')
  assert.ok(servedAgain > STEPS / 2500, 'resets are not lively enough')
})
