// @ts-check
/**
 * A chat over Pub/Sub. Each person reads at their own pace; who comes late, or was cut off, reads the last messages from a
 * list, because Pub/Sub keeps nothing.
 */
import { createClient } from 'respool'

const redis = createClient(process.env.RESPOOL_URL ?? 'redis://127.0.0.1:6379')

/** @param {string} room @param {string} name @param {string} text */
async function say(room, name, text) {
  const message = JSON.stringify({ name, text })
  const chain = redis.multi().publish(room, message).lpush(`${room}:last`, message)
  await chain.ltrim(`${room}:last`, 0, 99).exec()
}

/** @param {string} room @param {(line: string) => boolean} read returns false to leave */
async function join(room, read) {
  /** @param {string} message */
  const tell = (message) => {
    const { name, text } = JSON.parse(message)
    return read(`${name}: ${text}`)
  }
  const messages = redis.subscription(room, { onGap: () => console.log('some messages may be missing') })
  await messages.ready() // from here on none is missed; one that comes twice does less harm
  for (const message of (await redis.lrange(`${room}:last`, 0, 99)).reverse()) tell(message)
  for await (const { message } of messages) if (!tell(message)) break
}

await say('room', 'Ada', 'anybody here?')
/** @type {string[]} */
const lines = []
const listening = join('room', (line) => {
  if (lines.push(line) === 1) void say('room', 'Alan', 'yes').then(() => say('room', 'Ada', 'bye'))
  return line !== 'Ada: bye'
})
await listening
console.log(lines.join(' / '))
await redis.close()
