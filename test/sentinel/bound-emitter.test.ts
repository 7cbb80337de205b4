import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import { BoundEmitter } from '../../lib/sentinel/index.ts'

interface Events {
  event: [value: number]
}

const where = new AsyncLocalStorage<string>()
const methods = ['on', 'addListener', 'prependListener', 'once', 'prependOnceListener'] as const

for (const method of methods) {
  const isOnce = method.toLowerCase().includes('once')

  test(`a listener of ${method}() runs where it was registered, on its emitter, ${isOnce ? 'once' : 'each time'}`, () => {
    const emitter = new BoundEmitter<Events>()
    const heard: unknown[] = []
    where.run('there', () => {
      emitter[method]('event', function (this: unknown, value) {
        heard.push([where.getStore(), value, this === emitter])
      })
    })
    where.run('here', () => emitter.emit('event', 1))
    emitter.emit('event', 2)
    assert.deepEqual(heard, [['there', 1, true], ...(isOnce ? [] : [['there', 2, true]])])
  })

  test(`a listener of ${method}() is found by itself`, () => {
    const emitter = new BoundEmitter<Events>()
    const told: unknown[] = []
    const untyped: EventEmitter = emitter
    untyped.on('newListener', (name: string, it: unknown) => told.push(name, it))
    const listener = () => assert.fail('it was removed')
    emitter[method]('event', listener)
    assert.deepEqual(told, ['event', listener])
    assert.deepEqual(emitter.listeners('event'), [listener])
    assert.equal(emitter.listenerCount('event', listener), 1)
    emitter.off('event', listener)
    assert.equal(emitter.emit('event', 1), false)
  })

  test(`what is no function is refused by ${method}() as by Node`, () => {
    const plain = new EventEmitter()
    const emitter: EventEmitter = new BoundEmitter()
    const refusal = (it: EventEmitter) => {
      try {
        it[method]('event', undefined as never)
      } catch (error) {
        return String(error)
      }
      return undefined
    }
    assert.ok(refusal(plain) !== undefined)
    assert.equal(refusal(emitter), refusal(plain))
  })
}

test('listeners run in the order of their registration, those prepended before them', () => {
  const emitter = new BoundEmitter<Events>()
  const heard: string[] = []
  for (const method of methods) emitter[method]('event', () => heard.push(method))
  emitter.emit('event', 1)
  assert.deepEqual(heard, ['prependOnceListener', 'prependListener', 'on', 'addListener', 'once'])
})

test('events can be awaited with once() of node:events, which leaves no listener', async () => {
  const emitter = new BoundEmitter<Events>()
  const event = once(emitter, 'event')
  emitter.emit('event', 7)
  assert.deepEqual(await event, [7])
  assert.deepEqual(emitter.eventNames(), [])
})
