// What a client tells of itself, beside what a deployment tells.

import type { SentinelEvents } from '../sentinel/index.ts'
import type { Gap } from './subscription-options.ts'

/** The server at the end of a connection that came up, or has ended. */
export interface ConnectEvent {
  readonly address: string
  /** What it was dialed as; `undefined` for a client of one server. */
  readonly role: 'master' | 'replica' | undefined
}

/** A connection that has ended. */
export interface DisconnectEvent extends ConnectEvent {
  /** Why: `CONNECTION_LOST`, `FENCED`, or `CONNECTION_CLOSED` at the end of the client. */
  readonly error: Error
}

/**
 * None of them is needed to work; there is no event named `error`. Listeners run on a tick of their own, in the
 * asynchronous context of their registration; what one throws is an uncaught exception, and harms no other.
 */
export interface ClientEvents extends SentinelEvents {
  /** The server, or the master, has been reached for the first time. */
  ready: []
  /** A shared connection came up: each server has one, for ordinary commands, and replaces it when it is lost. */
  connect: [event: ConnectEvent]
  /** A shared connection has ended, for whatever reason. */
  disconnect: [event: DisconnectEvent]
  /** Subscriptions were interrupted and are whole again; told once for each connection of theirs. */
  gap: [gap: Gap]
}
