// Sentinels and servers that say what a test has them say, for what a real deployment does not do on demand: lie,
// fall silent, forget. Each listens on a port of its own and is gone with the test.

import type { TestContext } from 'node:test'
import { array, bulk, error, integer, map, nullArray, push, simple } from '../support/resp-writer.ts'
import {
  greet,
  greetInResp2,
  type Peer,
  type Script,
  type ScriptedServer,
  scriptedServer,
} from '../support/scripted-server.ts'

/** What a sentinel says of the one master it knows. Addresses are `host:port`. */
export interface Knowledge {
  readonly name: string
  /** `undefined`: it knows no master of that name. */
  readonly master: string | undefined
  readonly epoch: number | string
  /** Each with the fields that differ from those of a healthy one. */
  readonly replicas: readonly (Readonly<Record<string, string>> & { readonly address: string })[]
  readonly sentinels: readonly (string | (Readonly<Record<string, string>> & { readonly address: string }))[]
}

export class ScriptedSentinel {
  knowledge: Knowledge
  /** Accepts everything and answers nothing. */
  isSilent = false
  /** Refuses to subscribe. */
  isMute = false
  /** In TILT. */
  isTilted = false
  /** Flags of the master. */
  flags = 'master'
  /** What it calls itself; it has no name without. */
  runId: string | undefined
  /** Words of commands that its ACL forbids: `'MASTER'`, `'INFO'`. */
  forbidden: readonly string[] = []
  /** Takes a command before the sentinel does; `'pass'` leaves it to the sentinel. */
  intercept: (command: string[], peer: Peer) => string | Buffer | undefined | 'pass' = () => 'pass'
  /** Refuses every question. */
  refusal: string | undefined
  readonly protocol: 2 | 3
  server!: ScriptedServer
  readonly #subscribers = new Set<Peer>()
  /** Those that have named channels. */
  readonly #subscribed = new Map<Peer, Set<string>>()

  constructor(knowledge: Knowledge, protocol: 2 | 3 = 3) {
    this.knowledge = knowledge
    this.protocol = protocol
  }

  get address(): string {
    return this.server.address
  }

  /** Connections that are subscribed to its events. */
  get subscriberCount(): number {
    return [...this.#subscribers].filter((peer) => !peer.isClosed).length
  }

  /** How often it was asked who is master. */
  get questionCount(): number {
    return this.server.commands.filter(([, question]) => question === 'GET-MASTER-ADDR-BY-NAME').length
  }

  async listen(t: TestContext, port?: number): Promise<this> {
    this.server = await scriptedServer(
      t,
      (command, peer) => {
        if (this.isSilent) return undefined
        const answer = this.intercept(command, peer)
        return answer === 'pass' ? this.#answer(command, peer) : answer
      },
      port === undefined ? {} : { port },
    )
    return this
  }

  says(knowledge: Partial<Knowledge>): void {
    this.knowledge = { ...this.knowledge, ...knowledge }
  }

  /** Sends an event to all that are subscribed. */
  publish(channel: string, payload: string): void {
    const frame = this.protocol === 3 ? push : array
    for (const peer of this.#subscribers) {
      peer.send(frame(bulk('pmessage'), bulk('*'), bulk(channel), bulk(payload)))
    }
    for (const [peer, channels] of this.#subscribed) {
      if (channels.has(channel)) peer.send(frame(bulk('message'), bulk(channel), bulk(payload)))
    }
  }

  #answer(command: readonly string[], peer: Peer): string | Buffer | undefined {
    const [word = '', question = '', name] = command
    const asked = [word, `${word} ${question}`, question]
    if (this.forbidden.some((it) => asked.includes(it))) {
      return error(`NOPERM this user has no permissions to run the '${asked[1]?.toLowerCase()}' command`)
    }
    if (word === 'SUBSCRIBE' && !this.isMute) {
      const channels = this.#subscribed.get(peer) ?? new Set<string>()
      this.#subscribed.set(peer, channels.add(question))
      return (this.protocol === 3 ? push : array)(bulk('subscribe'), bulk(question), integer(channels.size))
    }
    if (word === 'PSUBSCRIBE' || word === 'SUBSCRIBE') {
      if (this.isMute) return error("NOPERM this user has no permissions to run the 'psubscribe' command")
      this.#subscribers.add(peer)
      return (this.protocol === 3 ? push : array)(bulk('psubscribe'), bulk('*'), integer(1))
    }
    if (word === 'INFO') return bulk(`# Sentinel\r\nsentinel_tilt:${Number(this.isTilted)}\r\n`)
    if (word !== 'SENTINEL') return this.protocol === 3 ? greet(command) : greetInResp2(command)
    if (this.refusal !== undefined) return error(this.refusal)
    if (question === 'MYID')
      return this.runId === undefined ? error('ERR unknown subcommand') : bulk(this.runId)
    return this.#know(question, name)
  }

  #know(question: string | undefined, name: string | undefined): Buffer {
    const { master, epoch, replicas, sentinels } = this.knowledge
    const isKnown = name === this.knowledge.name && master !== undefined
    if (question === 'GET-MASTER-ADDR-BY-NAME') {
      if (!isKnown) return nullArray()
      const { ip, port } = split(master)
      return array(bulk(ip), bulk(port))
    }
    if (!isKnown) return error('ERR No such master with that name')
    switch (question) {
      case 'MASTER':
        return this.#fields({
          name,
          ...split(master),
          flags: this.flags,
          'config-epoch': String(epoch),
          'num-other-sentinels': String(sentinels.length),
        })
      case 'REPLICAS':
        return array(
          ...replicas.map(({ address, ...fields }) =>
            this.#fields({ ...split(address), flags: 'slave', 'replica-announced': '1', ...fields }),
          ),
        )
      case 'SENTINELS':
        return array(
          ...sentinels.map((it) => {
            const { address, ...fields } = typeof it === 'string' ? { address: it } : it
            return this.#fields({ ...split(address), flags: 'sentinel', ...fields })
          }),
        )
      default:
        return error('ERR Unknown sentinel subcommand')
    }
  }

  #fields(fields: Readonly<Record<string, string>>): Buffer {
    const pairs = Object.entries(fields).map(([key, value]): [Buffer, Buffer] => [bulk(key), bulk(value)])
    return this.protocol === 3 ? map(...pairs) : array(...pairs.flat())
  }
}

/** A server that has a role and counts. */
export class ScriptedNode {
  /** What ROLE answers; {@link masterRole} and {@link slaveRole} make one. */
  role: Buffer
  /** Takes a command before the node does; `'pass'` leaves it to the node. */
  intercept: (command: string[], peer: Peer) => string | Buffer | undefined | 'pass' = () => 'pass'
  server!: ScriptedServer
  readonly #counters = new Map<string, number>()

  constructor(role: Buffer = masterRole()) {
    this.role = role
  }

  get address(): string {
    return this.server.address
  }

  get port(): number {
    return Number(split(this.address).port)
  }

  async listen(t: TestContext, port?: number): Promise<this> {
    const script: Script = (command, peer) => {
      const answer = this.intercept(command, peer)
      return answer === 'pass' ? this.#answer(command) : answer
    }
    this.server = await scriptedServer(t, script, port === undefined ? {} : { port })
    return this
  }

  /** How often the command arrived. */
  count(name: string): number {
    return this.server.commands.filter(([word]) => word === name).length
  }

  /** What a counter has come to. */
  value(key: string): number {
    return this.#counters.get(key) ?? 0
  }

  #answer(command: readonly string[]): string | Buffer | undefined {
    const [word, key = ''] = command
    switch (word) {
      case 'ROLE':
        return this.role
      case 'INCR': {
        const value = this.value(key) + 1
        this.#counters.set(key, value)
        return integer(value)
      }
      case 'GET':
        return bulk(`${key} of ${this.address}`)
      case 'SET':
        return simple('OK')
      default:
        return greet(command)
    }
  }
}

export function masterRole(): Buffer {
  return array(bulk('master'), integer(10), array())
}

export function slaveRole(master: string, link = 'connected'): Buffer {
  const { ip, port } = split(master)
  return array(bulk('slave'), bulk(ip), integer(Number(port)), bulk(link), integer(10))
}

export interface ScriptedDeployment {
  readonly sentinels: readonly ScriptedSentinel[]
  readonly master: ScriptedNode
  readonly replicas: readonly ScriptedNode[]
  /** Addresses of the sentinels. */
  readonly seeds: readonly string[]
  /** All sentinels say the same from now on. */
  say(knowledge: Partial<Knowledge>): void
}

/** A healthy deployment named `m`, at epoch 1. */
export async function scriptedDeployment(
  t: TestContext,
  { sentinels = 3, replicas = 1, protocol = 3 as 2 | 3 } = {},
): Promise<ScriptedDeployment> {
  const master = await new ScriptedNode().listen(t)
  const followers = await Promise.all(
    Array.from({ length: replicas }, () => new ScriptedNode(slaveRole(master.address)).listen(t)),
  )
  const knowledge: Knowledge = {
    name: 'm',
    master: master.address,
    epoch: 1,
    replicas: followers.map(({ address }) => ({ address })),
    sentinels: [],
  }
  const watching = await Promise.all(
    Array.from({ length: sentinels }, () => new ScriptedSentinel(knowledge, protocol).listen(t)),
  )
  const say = (news: Partial<Knowledge>) => {
    for (const sentinel of watching) sentinel.says(news)
  }
  return {
    sentinels: watching,
    master,
    replicas: followers,
    seeds: watching.map(({ address }) => address),
    say,
  }
}

function split(address: string): { ip: string; port: string } {
  const at = address.lastIndexOf(':')
  return { ip: address.slice(0, at).replace(/^\[|\]$/g, ''), port: address.slice(at + 1) }
}
