import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { SignalWatch } from '../../lib/pool/signal-watch.ts'

interface Watcher {
  readonly name: string
}

function create(): { watch: SignalWatch<Watcher>; told: string[] } {
  const told: string[] = []
  return { told, watch: new SignalWatch<Watcher>(({ name }) => told.push(name)) }
}

test('a signal has one listener however many watch it, and none when the last has left', () => {
  const { watch } = create()
  const { signal } = new AbortController()
  const watchers = Array.from({ length: 30 }, (_, i) => ({ name: String(i) }))
  for (const watcher of watchers) watch.add(signal, watcher)
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  for (const watcher of watchers) watch.delete(signal, watcher)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  assert.equal(watch.size, 0)
})

test('an abort is told to all who watch, in the order they came, and leaves nothing', () => {
  const { watch, told } = create()
  const [one, other] = [new AbortController(), new AbortController()]
  for (const name of ['a', 'b', 'c']) watch.add(one.signal, { name })
  watch.add(other.signal, { name: 'd' })
  one.abort()
  assert.deepEqual(told, ['a', 'b', 'c'])
  assert.equal(watch.size, 1)
  assert.equal(getEventListeners(one.signal, 'abort').length, 0)
})

test('who has left is not told', () => {
  const { watch, told } = create()
  const controller = new AbortController()
  const [a, b] = [{ name: 'a' }, { name: 'b' }]
  watch.add(controller.signal, a)
  watch.add(controller.signal, b)
  watch.delete(controller.signal, a)
  watch.delete(controller.signal, a)
  watch.delete(new AbortController().signal, b)
  controller.abort()
  assert.deepEqual(told, ['b'])
})

test('without a signal there is nothing to watch', () => {
  const { watch } = create()
  const watcher = { name: 'a' }
  watch.add(undefined, watcher)
  watch.delete(undefined, watcher)
  assert.equal(watch.size, 0)
})
