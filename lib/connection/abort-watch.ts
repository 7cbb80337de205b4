// Who is to be told of the abort of a signal. A signal shared by many commands has one listener of ours, not one
// for each: Node warns of a leak from the 11th on, and walks through all of them to add or remove another.
//
//   signal ──one listener──► waiting  { callback, callback, … }

interface Watch {
  readonly waiting: Set<() => void>
  readonly listener: () => void
}

const watches = new WeakMap<AbortSignal, Watch>()

/** Calls back when the signal is aborted; the function returned puts an end to that. */
export function watchAbort(signal: AbortSignal, callback: () => void): () => void {
  const watch = watches.get(signal) ?? begin(signal)
  watch.waiting.add(callback)
  return () => {
    watch.waiting.delete(callback)
    if (watch.waiting.size > 0 || watches.get(signal) !== watch) return
    watches.delete(signal)
    signal.removeEventListener('abort', watch.listener)
  }
}

function begin(signal: AbortSignal): Watch {
  const waiting = new Set<() => void>()
  const listener = () => {
    for (const callback of waiting) callback()
  }
  const watch = { waiting, listener }
  watches.set(signal, watch)
  signal.addEventListener('abort', listener)
  return watch
}
