// What the harness and the process with the client tell each other. All instants are `wallNow()`, which is the same
// clock in both.

import { performance } from 'node:perf_hooks'

/** Milliseconds since the epoch, with fractions; steady within a process, comparable between two. */
export function wallNow(): number {
  return performance.timeOrigin + performance.now()
}

/** What the client is to be, and what is to be done with it. */
export interface Plan {
  readonly name: string
  readonly sentinels: readonly string[]
  readonly adoptEarly: boolean
  readonly commandTimeout: number
  /** Writes a second, and as many reads. */
  readonly rate: number
  /** The load begins when so many replicas are read from. */
  readonly replicas: number
}

/** From the harness. */
export type Order = { readonly kind: 'stop' }

/** From the client's process. */
export type Word =
  /** The first write was acknowledged; the load begins. */
  | { readonly kind: 'started'; readonly tookMs: number }
  /** The first write was rejected; there will be no load. */
  | { readonly kind: 'refused'; readonly tookMs: number; readonly code: string; readonly message: string }
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'ledger'; readonly ledger: Ledger }

export interface Progress {
  readonly at: number
  readonly acknowledged: number
  readonly failed: number
}

/**
 * What became of a command: still open, acknowledged, certainly not run because it was not sent or because the server
 * refused it, perhaps run, or rejected with what is no error of the library's.
 */
export type Fate = 'open' | 'ok' | 'not-sent' | 'refused' | 'unknown' | 'strange'

/** Commands in the order of their sending, a column each. */
export interface CommandLog {
  readonly sentAt: number[]
  /** 0 while it is open. */
  readonly settledAt: number[]
  readonly fate: Fate[]
  /**
   * Of an acknowledged read: the number of the write that it saw, −1 for none. Of an acknowledged increment: the
   * counter. Else 0.
   */
  readonly reply: number[]
}

/** All that the client's process has seen. */
export interface Ledger {
  readonly writes: CommandLog
  readonly reads: CommandLog
  readonly errors: readonly ErrorCount[]
  readonly switches: readonly ClientSwitch[]
  readonly sockets: readonly SocketLife[]
  /** Rejections and exceptions that nobody caught. */
  readonly unhandled: readonly string[]
  /** The longest time by which a timer was late. */
  readonly longestStallMs: number
  readonly subscription: SubscriptionLog | undefined
}

export interface ErrorCount {
  readonly what: 'write' | 'read' | 'publish'
  readonly code: string
  /** Of the first of them. */
  readonly message: string
  readonly firstAt: number
  readonly count: number
}

/** The client's own word that it has another master. */
export interface ClientSwitch {
  readonly at: number
  readonly from: string
  readonly to: string
}

/** A socket of the client's process. */
export interface SocketLife {
  readonly port: number
  readonly openedAt: number
  /** `undefined`: still open at the end. */
  readonly closedAt: number | undefined
}

/** Messages that the client published to itself, numbered from 0. */
export interface SubscriptionLog {
  /** By number: when the PUBLISH was acknowledged, 0 if it was not. */
  readonly publishedAt: number[]
  /** In the order of arrival. */
  readonly received: { readonly at: number; readonly number: number }[]
}

/** What the numbered write is; they take turns, so that half of them are unique keys. */
export type WriteKind = 'set' | 'register' | 'counter' | 'once'

const TURNS: readonly WriteKind[] = [
  'set',
  'register',
  'once',
  'counter',
  'set',
  'register',
  'set',
  'counter',
]

export function kindOf(number: number): WriteKind {
  return TURNS[number % TURNS.length] as WriteKind
}

export const REGISTER = 'register'
export const COUNTER = 'counter'
export const CHANNEL = 'news'

/** The key of a `set` (`SET key number`) or of a `once` (`INCR key`), which no other write touches. */
export function uniqueKey(number: number): string {
  return `${kindOf(number)}:${number}`
}
