// What one connection is subscribed to, and which frames confirm which command. A (un)subscription has no
// reply of its own: the server sends one confirmation a channel, in RESP3 as a push, in RESP2 as an array,
// in the place where the reply would be.
//
//   confirmation = verb, channel, subscriptions left      verb = ["p"|"s"] ["un"] "subscribe"
//   message      = "message", channel, payload | "pmessage", pattern, channel, payload | "smessage", channel, payload

import type { Argument, Reply } from '../resp/index.ts'

type Kind = 'subscribe' | 'psubscribe' | 'ssubscribe'

/** Verb → the kind of subscription, and whether it begins or ends one. */
const VERBS = new Map<unknown, { readonly kind: Kind; readonly begins: boolean }>([
  ['subscribe', { kind: 'subscribe', begins: true }],
  ['psubscribe', { kind: 'psubscribe', begins: true }],
  ['ssubscribe', { kind: 'ssubscribe', begins: true }],
  ['unsubscribe', { kind: 'subscribe', begins: false }],
  ['punsubscribe', { kind: 'psubscribe', begins: false }],
  ['sunsubscribe', { kind: 'ssubscribe', begins: false }],
])
const MESSAGES = new Set<unknown>(['message', 'pmessage', 'smessage'])
const SHORTEST_VERB = 'subscribe'.length
const LONGEST_VERB = 'punsubscribe'.length

/** The confirmations that a command in flight has got and still waits for. */
export interface AwaitedConfirmations {
  readonly verb: string
  /** Number of confirmations; 0 = until nothing of the kind is left (UNSUBSCRIBE without channels). */
  readonly wanted: number
  /** The channels of a SUNSUBSCRIBE, which the server may confirm for others by its own doing meanwhile. */
  readonly channels: ReadonlySet<string> | undefined
  readonly got: Reply[][]
}

/** What the command waits for if it is a (un)subscription. */
export function awaitedConfirmations(command: readonly Argument[]): AwaitedConfirmations | undefined {
  const name = command[0]
  if (typeof name !== 'string' && !(name instanceof Uint8Array)) return undefined
  if (name.length < SHORTEST_VERB || name.length > LONGEST_VERB) return undefined
  const verb = (typeof name === 'string' ? name : Buffer.from(name).toString()).toLowerCase()
  if (!VERBS.has(verb)) return undefined
  const wanted = command.length - 1
  const channels =
    verb === 'sunsubscribe' && wanted > 0
      ? new Set(command.map((it) => (it instanceof Uint8Array ? Buffer.from(it).toString() : String(it))))
      : undefined
  return { verb, wanted, channels, got: [] }
}

export class Subscriptions {
  readonly #channels: Record<Kind, Set<string>> = {
    subscribe: new Set(),
    psubscribe: new Set(),
    ssubscribe: new Set(),
  }

  /** Channels, patterns and shard channels together. */
  get count(): number {
    const { subscribe, psubscribe, ssubscribe } = this.#channels
    return subscribe.size + psubscribe.size + ssubscribe.size
  }

  /** Nothing is left: the server was told to RESET. */
  clear(): void {
    for (const channels of Object.values(this.#channels)) channels.clear()
  }

  /** Whether a RESP2 array is a message or a confirmation rather than a reply. */
  isFrame(value: Reply, awaited: AwaitedConfirmations | undefined): value is Reply[] {
    if (!Array.isArray(value) || (awaited === undefined && this.count === 0)) return false
    const verb = text(value[0])
    return MESSAGES.has(verb) || VERBS.has(verb)
  }

  /**
   * Takes note of a confirmation.
   *
   * @param awaited what the first command in flight waits for
   * @returns `'done'` when it was the last one of that command, `'more'` when it was one of them, `'other'` when
   *   the frame is not what the command waits for: a message, or the server's own doing
   */
  take(frame: Reply[], awaited: AwaitedConfirmations | undefined): 'done' | 'more' | 'other' {
    const name = text(frame[0])
    // a message is none, and is told by its length alone: its fresh string would have to be hashed
    if (typeof name !== 'string' || name.length < SHORTEST_VERB) return 'other'
    const verb = VERBS.get(name)
    if (verb === undefined) return 'other'
    const channels = this.#channels[verb.kind]
    const channel = text(frame[1])
    if (verb.begins) channels.add(String(channel))
    else if (channel !== null) channels.delete(String(channel))
    if (awaited === undefined || awaited.verb !== name) return 'other'
    if (awaited.channels?.has(String(channel)) === false) return 'other'
    awaited.got.push(frame)
    const isDone = awaited.wanted === 0 ? channels.size === 0 : awaited.got.length === awaited.wanted
    return isDone ? 'done' : 'more'
  }
}

/** Frames have bytes where the command in flight asked for bytes. */
function text(value: Reply | undefined): Reply | undefined {
  return value instanceof Uint8Array ? value.toString() : value
}
