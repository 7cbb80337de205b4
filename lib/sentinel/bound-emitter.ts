// An event emitter whose listeners run where they were registered: what AsyncLocalStorage held there it holds in the
// listener, and not what it held for whichever command or timer brought the event about. And how they are told: they are
// the user's, so each is called on a tick of its own, and harms neither us nor the others.
//
// A listener that is wrapped is still found by itself, as with `once` of Node: the wrapper has it as `listener`.

import { AsyncResource } from 'node:async_hooks'
import { EventEmitter } from 'node:events'

type Listener = (...args: unknown[]) => void
type Name = string | symbol

class Bound extends EventEmitter {
  constructor() {
    super()
    this.setMaxListeners(0) // there is one of these for a whole process, and many who want to know
  }

  override on(name: Name, listener: Listener): this {
    return super.on(name, bound(listener))
  }

  override addListener(name: Name, listener: Listener): this {
    return this.on(name, listener)
  }

  override prependListener(name: Name, listener: Listener): this {
    return super.prependListener(name, bound(listener))
  }

  override once(name: Name, listener: Listener): this {
    return super.on(name, this.#forOnce(name, listener))
  }

  override prependOnceListener(name: Name, listener: Listener): this {
    return super.prependListener(name, this.#forOnce(name, listener))
  }

  #forOnce(name: Name, listener: Listener): Listener {
    const wrapper = bound(listener, (...args: unknown[]) => {
      this.removeListener(name, wrapper)
      Reflect.apply(listener, this, args)
    })
    return wrapper
  }
}

/** `EventEmitter` with its types. What it throws for a listener that is no function is Node's own. */
export const BoundEmitter = Bound as unknown as typeof EventEmitter

/**
 * Tells all listeners of an event: those that are there now, and still are on their turn. What one throws is an uncaught
 * exception, as with any EventEmitter.
 */
export function tellEach<E extends Record<keyof E, unknown[]>, K extends keyof E & string>(
  typed: EventEmitter<E>,
  event: K,
  ...args: E[K]
): void {
  const emitter: EventEmitter = typed as object as EventEmitter
  for (const listener of emitter.rawListeners(event)) {
    process.nextTick(() => {
      if (emitter.rawListeners(event).includes(listener)) Reflect.apply(listener, emitter, args)
    })
  }
}

function bound(listener: Listener, run = listener): Listener {
  // Node says what is wrong with it.
  if (typeof listener !== 'function') return listener
  return Object.assign(AsyncResource.bind(run), { listener })
}
