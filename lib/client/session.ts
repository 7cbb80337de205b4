// Reads that see the session's own writes, from replicas too. Behind each write the master is asked for its place in
// the replication stream; before each read the replica is, on the same connection and in the same round trip:
//
//   master    SET k v, ROLE    ["master", 5200, …]                            the session's token: 5200 of this master
//   replica   ROLE, GET k      ["slave", host, port, "connected", 5200]       has it all: the value is taken
//                              ["slave", host, port, "connected", 5100]       behind: the master is asked
//                              another master, another state, another role    another history: the master is asked
//
// Invariant: a value that a replica gave is returned only if the replica, by its own word, follows the master of the
// token, its link is up, and it had applied the token's offset before it read. Without a good token (a write whose
// outcome or offset is unknown, another master since) reads go to the master; the first of them asks for the offset
// behind itself, and so there is a token again.
//
// No sockets and no time: what is sent where and when is attempts.ts's.

import { formatAddress } from '../connection/index.ts'
import { outcomeOf, type ReadFrom } from '../endpoint/index.ts'
import { ReplyError, RespoolError } from '../errors.ts'
import type { Reply } from '../resp/index.ts'
import type { AttemptOptions, Exchange, Line } from './exchange.ts'

/** What `session()` can be told. */
export interface SessionOptions {
  /** The token of an earlier session, whose writes this one's reads shall see as well. @default none */
  readonly after?: string | undefined
}

/** A place in a master's replication stream. */
interface Token {
  /** Address of the master; of a token from outside only its fingerprint. */
  readonly master: string
  readonly isFingerprint: boolean
  readonly offset: number | bigint
}

/** Version, offset, fingerprint of the master's address; or that there is no good token. */
const TOKEN = /^1\.(?:(\d{1,19})\.([\w-]{11})|x)$/
const NO_GOOD_TOKEN = '1.x'

/**
 * What all views of one session share. It has no life of its own: nothing to close.
 *
 * @internal
 */
export class Session {
  readonly #translate: (announced: string) => string
  #token: Token | undefined
  /** Counts the events below, to tell which of them came first. */
  #clock = 0
  #tokenAt = 0
  /** When a write ended whose outcome or offset is not known; 0 = none has since a token was asked for. */
  #doubtAt = 0
  /** Attempts at writes that are under way. */
  #outstanding = 0

  /**
   * @param translate what a replica calls its master, as it is called here
   * @throws {TypeError}
   */
  constructor(options: SessionOptions = {}, translate = (announced: string) => announced) {
    this.#translate = translate
    if (options === null || typeof options !== 'object')
      throw new TypeError('session options must be an object')
    for (const name of Object.keys(options)) {
      if (name !== 'after') throw new TypeError(`unknown session option '${name}'`)
    }
    const { after } = options
    if (after === undefined) return
    const match = typeof after === 'string' ? TOKEN.exec(after) : null
    if (match === null) {
      const got = typeof after === 'string' ? JSON.stringify(after.slice(0, 40)) : typeof after
      throw new TypeError(`option after must be a token that a session gave, got ${got}`)
    }
    const [, offset, master] = match
    if (offset === undefined || master === undefined) this.#doubt()
    else this.#token = { master, isFingerprint: true, offset: BigInt(offset) }
  }

  /** What the session's reads have to have seen, for another one's option `after`; `undefined` before any write. */
  get token(): string | undefined {
    if (this.isInDoubt || this.isWriting) return NO_GOOD_TOKEN
    if (this.#token === undefined) return undefined
    const { master, isFingerprint, offset } = this.#token
    return `1.${offset}.${isFingerprint ? master : fingerprint(master)}`
  }

  /** Whether there is anything that its reads have to see. */
  get hasWritten(): boolean {
    return this.#token !== undefined || this.isInDoubt || this.isWriting
  }

  /** Whether a write ended whose outcome or offset is not known, and no token is from after it. */
  get isInDoubt(): boolean {
    return this.#doubtAt > 0
  }

  get isWriting(): boolean {
    return this.#outstanding > 0
  }

  /** What a server's ROLE, given before a read, says of the read. */
  judge(role: Reply | undefined, address: string): 'has-it' | 'behind' | 'other-history' {
    if (!Array.isArray(role)) return 'behind'
    const [kind, host, port, link, offset] = role
    if (kind === 'master' && this.#isOf(address)) return 'has-it'
    const follows = kind === 'slave' ? formatAddress({ host: String(host), port: Number(port) }) : ''
    if (follows === '' || !this.#isOf(this.#translate(follows)) || this.#token === undefined)
      return 'other-history'
    // without a link the offset is -1
    return link === 'connected' && isOffset(offset) && offset >= this.#token.offset ? 'has-it' : 'behind'
  }

  /** Runs a write, its ROLE behind it; the token is there before the write's outcome is. */
  async follow(write: Exchange, line: Line, address: string, options: AttemptOptions) {
    this.#outstanding += 1
    try {
      const { reply, error, isSure } = await this.#sendWithRole(write, line, address, options)
      if (!isSure && mayHaveRun(error)) this.#doubt()
      if (error !== undefined) throw error
      return reply
    } finally {
      this.#outstanding -= 1
    }
  }

  /** Runs a read on the master, ROLE behind it: what it saw, and all that this session wrote, is in the token then. */
  async renew(read: Exchange, line: Line, address: string, options: AttemptOptions) {
    const { reply, error } = await this.#sendWithRole(read, line, address, options)
    if (error !== undefined) throw error
    return reply
  }

  async #sendWithRole(exchange: Exchange, line: Line, address: string, options: AttemptOptions) {
    this.#clock += 1
    const sentAt = this.#clock
    const { timeout, signal } = options
    const [sent, role] = await Promise.allSettled([
      exchange.attempt(line, address, options),
      line.execute(['ROLE'], { timeout, signal }),
    ])
    const offset = role.status === 'fulfilled' ? masterOffset(role.value) : undefined
    if (offset !== undefined) this.#advance(address, offset, sentAt)
    const isSure = offset !== undefined
    return sent.status === 'fulfilled'
      ? { reply: sent.value, error: undefined, isSure }
      : { reply: undefined, error: sent.reason as Error, isSure }
  }

  /** A master's offset that was asked for behind what was sent at that time. */
  #advance(master: string, offset: number | bigint, sentAt: number): void {
    const isLater = sentAt > this.#tokenAt
    // two that crossed at different masters: which history goes on is not known here
    if (!isLater && !this.#isOf(master)) {
      this.#doubt()
      return
    }
    // one that was sent later counts even if it is lower: the master has begun a new history under its old address
    if (isLater || this.#token === undefined || offset > this.#token.offset)
      this.#token = { master, isFingerprint: false, offset }
    this.#clock += 1
    this.#tokenAt = this.#clock
    if (sentAt > this.#doubtAt) this.#doubtAt = 0
  }

  /** Whether a server of that address is the master of the token. */
  #isOf(address: string): boolean {
    if (this.#token === undefined) return false
    return this.#token.master === (this.#token.isFingerprint ? fingerprint(address) : address)
  }

  #doubt(): void {
    this.#clock += 1
    this.#doubtAt = this.#clock
  }
}

/**
 * A write of a session.
 *
 * @internal
 */
export function sessionWrite(session: Session, write: Exchange): Exchange {
  return {
    needsLease: write.needsLease,
    target: () => write.target(),
    attempt: (line, address, options) => session.follow(write, line, address, options),
  }
}

/**
 * A read of a session: one of these for each, since it goes to a replica at most once in vain.
 *
 * @internal
 */
export class SessionRead implements Exchange {
  readonly needsLease: boolean
  readonly #session: Session
  readonly #read: Exchange
  /** What a server that could not serve it was. */
  #refused: 'behind' | 'other-history' | undefined
  #isForMaster = false

  constructor(session: Session, read: Exchange) {
    this.needsLease = read.needsLease
    this.#session = session
    this.#read = read
  }

  target(): 'write' | ReadFrom {
    const { isInDoubt, isWriting, hasWritten } = this.#session
    // one that blocks is not to be thrown away after it has blocked
    const wouldBlock = this.needsLease && hasWritten
    const target = this.#read.target()
    this.#isForMaster =
      target === 'master' || isInDoubt || isWriting || wouldBlock || this.#refused !== undefined
    return this.#isForMaster ? 'master' : target
  }

  async attempt(line: Line, address: string, options: AttemptOptions): Promise<Reply | undefined> {
    const session = this.#session
    if (this.#isForMaster) {
      const wantsToken = session.isInDoubt || this.#refused === 'other-history'
      return await (wantsToken
        ? session.renew(this.#read, line, address, options)
        : this.#read.attempt(line, address, options))
    }
    if (!session.hasWritten) return await this.#read.attempt(line, address, options)
    const { timeout, signal } = options
    const [role, read] = await Promise.allSettled([
      line.execute(['ROLE'], { timeout, signal }),
      this.#read.attempt(line, address, options),
    ])
    if (read.status === 'rejected' && outcomeOf(read.reason) !== 'answered') throw read.reason
    const verdict = session.judge(role.status === 'fulfilled' ? role.value : undefined, address)
    if (verdict !== 'has-it') {
      this.#refused = verdict
      return undefined
    }
    if (read.status === 'rejected') throw read.reason
    return read.value
  }
}

/** `["master", offset, replicas]` */
function masterOffset(role: Reply): number | bigint | undefined {
  const [kind, offset] = Array.isArray(role) ? role : []
  return kind === 'master' && isOffset(offset) ? offset : undefined
}

function isOffset(value: Reply | undefined): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint'
}

/** Also one that was refused: a script may have written before it failed. */
function mayHaveRun(error: Error | undefined): boolean {
  return !(error instanceof RespoolError) || error.mayHaveExecuted || error instanceof ReplyError
}

/** Tokens leave the process: they do not tell where the servers are. */
function fingerprint(address: string): string {
  // loaded by its first use, as in pool/clean-up.ts
  const { createHash } = process.getBuiltinModule('node:crypto')
  return createHash('sha256').update(address).digest('base64url').slice(0, 11)
}
