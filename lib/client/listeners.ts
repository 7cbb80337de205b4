// How the listeners of a client are told. They are the user's, so each is called on a tick of its own: what it throws is
// an uncaught exception, as with any EventEmitter, and harms neither the client nor the other listeners. Each runs in the
// asynchronous context in which it was registered: what `AsyncLocalStorage` held there it holds here.

import { AsyncResource } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'

type Listener = (...args: unknown[]) => unknown

/** @returns tells all listeners of an event: those that are there now, and still are on their turn */
export function contextualEmit<E extends Record<keyof E, unknown[]>>(
  typed: EventEmitter<E>,
): <K extends keyof E & string>(event: K, ...args: E[K]) => void {
  const emitter: EventEmitter = typed as object as EventEmitter
  const contexts = new WeakMap<object, (run: () => void) => void>()
  // told before it is added, and of `once()` with what was given to it
  emitter.on('newListener', (_event, listener: Listener) => {
    contexts.set(
      listener,
      AsyncResource.bind((run: () => void) => run()),
    )
  })
  return (event, ...args) => {
    for (const listener of emitter.rawListeners(event) as (Listener & { listener?: Listener })[]) {
      process.nextTick(() => {
        if (!emitter.rawListeners(event).includes(listener)) return
        const run = () => void listener.apply(emitter, args)
        const context = contexts.get(listener.listener ?? listener)
        if (context === undefined) run()
        else context(run)
      })
    }
  }
}
