// What a process holds once nothing is on its way any more.

const ROUNDS = 4
const PAUSE_MS = 100

/** Bytes: of the process, of the heap, and of heap and buffers together; after everything collectable is gone. */
export async function settled() {
  for (let i = 0; i < ROUNDS; i += 1) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, heap: heapUsed, held: heapUsed + external }
}

/** Node is started with --expose-gc; Bun has a way of its own. */
function collect() {
  if (typeof Bun === 'undefined') globalThis.gc()
  else Bun.gc(true)
}
