import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { BoundEmitter, tellEach } from '../../lib/sentinel/index.ts'
import { settled } from '../support/clock.ts'
import { runProgram } from '../support/program.ts'

interface Events {
  news: [what: string, n: number]
  other: []
}

function teller(emitter: EventEmitter<Events>) {
  return <K extends keyof Events>(event: K, ...args: Events[K]) =>
    tellEach<Events, K>(emitter, event, ...args)
}

test('listeners are told in their order, with all there is to tell, and not before the next tick', async () => {
  const emitter = new BoundEmitter<Events>()
  const tell = teller(emitter)
  const heard: unknown[] = []
  emitter.on('news', (...args) => heard.push(['first', ...args]))
  emitter.prependListener('news', (...args) => heard.push(['before', ...args]))
  emitter.on('news', function (this: unknown) {
    assert.equal(this, emitter)
  })
  tell('news', 'x', 1)
  tell('other')
  assert.deepEqual(heard, [])
  await settled()
  assert.deepEqual(heard, [
    ['before', 'x', 1],
    ['first', 'x', 1],
  ])
})

test('once is once, and a listener that was taken away hears nothing more', async () => {
  const emitter = new BoundEmitter<Events>()
  const tell = teller(emitter)
  const heard: string[] = []
  const listener = (what: string) => heard.push(`on ${what}`)
  emitter.once('news', (what) => heard.push(`once ${what}`))
  emitter.on('news', listener)
  tell('news', 'a', 1)
  tell('news', 'b', 2)
  await settled()
  assert.deepEqual(heard, ['once a', 'on a', 'on b'])
  tell('news', 'c', 3)
  emitter.off('news', listener)
  await settled()
  assert.equal(heard.length, 3)
  assert.equal(emitter.listenerCount('news'), 0)
})

test('a listener runs in the asynchronous context of its registration', async () => {
  const emitter = new BoundEmitter<Events>()
  const tell = teller(emitter)
  const storage = new AsyncLocalStorage<string>()
  const heard: unknown[] = []
  storage.run('on', () => emitter.on('other', () => heard.push(storage.getStore())))
  storage.run('once', () => emitter.once('other', () => heard.push(storage.getStore())))
  emitter.on('other', () => heard.push(storage.getStore()))
  storage.run('teller', () => tell('other'))
  await settled()
  assert.deepEqual(heard, ['on', 'once', undefined])
  // whoever takes away all listeners takes away that, too
  emitter.removeAllListeners()
  emitter.on('other', () => heard.push('still told'))
  tell('other')
  await settled()
  assert.equal(heard.at(-1), 'still told')
})

test('what a listener throws is an uncaught exception, and the others are told', async (t) => {
  const program = `
    import { BoundEmitter, tellEach } from '${import.meta.resolve('../../lib/sentinel/index.js')}'
    const emitter = new BoundEmitter()
    process.on('uncaughtException', (error) => console.log('uncaught', error.message))
    emitter.on('news', () => { throw new Error('mine') })
    emitter.on('news', () => console.log('told'))
    tellEach(emitter, 'news')
    console.log('teller goes on')`
  const { stdout } = await runProgram(t, program)
  assert.deepEqual(stdout.trim().split('\n'), ['teller goes on', 'uncaught mine', 'told'])
})

test('many may listen: that brings no warning', async (t) => {
  const program = `
    import { BoundEmitter } from '${import.meta.resolve('../../lib/sentinel/index.js')}'
    const emitter = new BoundEmitter()
    process.on('warning', ({ name }) => console.log('warned', name))
    for (let i = 0; i < 100; i += 1) emitter.on('news', () => undefined)
    setImmediate(() => console.log('done'))`
  const { stdout } = await runProgram(t, program)
  assert.equal(stdout.trim(), 'done')
})
