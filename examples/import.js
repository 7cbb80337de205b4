// @ts-check
/**
 * An import of many rows by pipelines: a thousand commands have one promise and leave in one piece, and two pieces are on
 * their way at a time, so that neither side waits for the other and the memory stays small.
 */
import { createClient } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')

/** As from a file or a database. */
async function* rows() {
  for (let id = 0; id < 50_000; id += 1) yield { id, name: `user ${id}` }
}

/** @param {AsyncIterable<{ id: number, name: string }>} source */
async function importAll(source) {
  const pieceSize = 1_000
  let piece = redis.pipeline()
  /** @type {Promise<unknown>} */
  let before = Promise.resolve()
  let count = 0
  for await (const { id, name } of source) {
    piece.hset(`user:${id}`, 'name', name)
    count += 1
    if (piece.length < pieceSize) continue
    await before
    before = piece.exec() // rejects if a command failed; its error's batch says which
    before.catch(() => undefined) // it is awaited above, or below
    piece = redis.pipeline()
  }
  await before
  await piece.exec()
  return count
}

console.log(`${await importAll(rows())} rows, the server has ${await redis.dbsize()} keys`)
await redis.close()
