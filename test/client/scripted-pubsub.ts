// A server that has channels, and that does with subscriptions what a test wants: refuse, stall, cut. It speaks RESP2
// or RESP3 and counts what it is asked for.

import type { TestContext } from 'node:test'
import { type Client, type ClientOptions, createClient } from '../../lib/client/index.ts'
import { array, bulk, error, integer, push } from '../support/resp-writer.ts'
import {
  greet,
  greetInResp2,
  type Peer,
  type ScriptedServer,
  scriptedServer,
} from '../support/scripted-server.ts'

type Answer = string | Buffer | undefined | 'pass'

export class ScriptedPubSub {
  readonly protocol: 2 | 3
  server!: ScriptedServer
  /** Takes a command before the server does; `'pass'` leaves it to the server. */
  intercept: (command: string[], peer: Peer) => Answer = () => 'pass'
  /** Channels that may not be subscribed to. */
  readonly forbidden = new Set<string>()
  /** `kind:channel` → who is subscribed to it. */
  readonly #subscribed = new Map<string, Set<Peer>>()

  constructor(protocol: 2 | 3 = 3) {
    this.protocol = protocol
  }

  async listen(t: TestContext, port?: number): Promise<this> {
    this.server = await scriptedServer(
      t,
      (command, peer) => {
        const answer = this.intercept(command, peer)
        return answer === 'pass' ? this.#answer(command, peer) : answer
      },
      port === undefined ? {} : { port },
    )
    return this
  }

  get port(): number {
    const { options } = this.server
    return 'port' in options ? options.port : 0
  }

  /** A client of it, gone with the test. */
  client(t: TestContext, options: ClientOptions = {}): Client {
    const client = createClient({ port: this.port, pingInterval: 0, ...options })
    t.after(() => client.destroy())
    return client
  }

  /** What was (un)subscribed, in order: `'SUBSCRIBE a b'`. Of one connection, or of all. */
  asked(peer?: Peer): string[] {
    const commands = peer === undefined ? this.server.commands : peer.commands
    return commands.filter(([name = '']) => /SUBSCRIBE$/.test(name)).map((command) => command.join(' '))
  }

  /** Connections that were subscribed to anything, the closed ones too. */
  get subscribers(): Peer[] {
    return this.server.peers.filter((peer) => this.asked(peer).length > 0)
  }

  /** How many connections are subscribed to that. */
  count(channel: string, kind = 'subscribe'): number {
    return [...(this.#subscribed.get(`${kind}:${channel}`) ?? [])].filter((peer) => !peer.isClosed).length
  }

  /** The frames of one message, for `peer.send()`. */
  message(channel: string, payload: string | Buffer): Buffer {
    return this.frame(bulk('message'), bulk(channel), bulk(payload))
  }

  frame(...items: Buffer[]): Buffer {
    return (this.protocol === 3 ? push : array)(...items)
  }

  /** To all that are subscribed. */
  publish(channel: string, payload: string | Buffer): void {
    for (const [key, peers] of this.#subscribed) {
      const [kind = '', name = ''] = key.split(':')
      for (const peer of peers) {
        if (kind === 'subscribe' && name === channel) peer.send(this.message(channel, payload))
        if (kind === 'psubscribe' && channel.startsWith(name.replace('*', ''))) {
          peer.send(this.frame(bulk('pmessage'), bulk(name), bulk(channel), bulk(payload)))
        }
        if (kind === 'ssubscribe' && name === channel) {
          peer.send(this.frame(bulk('smessage'), bulk(channel), bulk(payload)))
        }
      }
    }
  }

  #answer(command: readonly string[], peer: Peer): string | Buffer | undefined {
    const [name = '', ...channels] = command
    const verb = name.toLowerCase()
    if (!verb.endsWith('subscribe')) {
      if (verb === 'ping' && this.protocol === 2 && this.subscribers.includes(peer)) {
        return array(bulk('pong'), bulk(''))
      }
      return (this.protocol === 3 ? greet : greetInResp2)(command)
    }
    if (channels.some((channel) => this.forbidden.has(channel))) {
      return error('NOPERM No permissions to access a channel')
    }
    const frames = channels.map((channel) => {
      const key = `${verb.replace('un', '')}:${channel}`
      const peers = this.#subscribed.get(key) ?? new Set()
      this.#subscribed.set(key, peers)
      if (verb.includes('un')) peers.delete(peer)
      else peers.add(peer)
      return this.frame(bulk(verb), bulk(channel), integer(peers.size))
    })
    return Buffer.concat(frames)
  }
}
