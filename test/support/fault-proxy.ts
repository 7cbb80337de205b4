// A proxy before one server that can be told to misbehave, towards some of those who connect and not to others, whom
// it knows by the address that they come from.
//
//   pass   bytes go both ways
//   hold   nothing goes either way until it passes again, and then all of it: a network that is cut for a while
//   drop   what arrives is thrown away, for as long as the connection lasts: a half-open connection, whose other end
//          has forgotten it
//   reset  the connection ends with a RST
//
// What is done to connections that are open, and to those that come, is told apart. A new one that is held or dropped
// opens all the same and stays silent: a SYN cannot be lost in here.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Cleanup } from './temp-dir.ts'

export type Treatment = 'pass' | 'hold' | 'drop' | 'reset'

/** Whether a connection from that address is meant. */
export type Source = (host: string) => boolean

export interface FaultProxy {
  readonly port: number
  /** Connections that are open now. One that was dropped stays so. */
  treatOpen(treatment: Treatment, from?: Source): void
  /** Connections that will come; of two rules that fit, the later one counts. */
  treatNew(treatment: Treatment, from?: Source): void
  /** Connections that are open, on the side of those who connect. */
  openCount(from?: Source): number
}

const everybody: Source = () => true

/** Listens on the port before a server that may not be there yet; the end of `t` closes it with all connections. */
export async function faultProxy(t: Cleanup, port: number, target: () => number): Promise<FaultProxy> {
  const links = new Set<Link>()
  const rules: { readonly treatment: Treatment; readonly from: Source }[] = []
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
    const link = new Link(socket, target, () => links.delete(link))
    links.add(link)
    link.treat(rules.findLast(({ from }) => from(link.host))?.treatment ?? 'pass')
  })
  t.after(async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const link of links) link.destroy()
    await closed
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host: '127.0.0.1' }, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    treatOpen: (treatment, from = everybody) => {
      for (const link of [...links]) if (from(link.host)) link.treat(treatment)
    },
    treatNew: (treatment, from = everybody) => void rules.push({ treatment, from }),
    openCount: (from = everybody) => [...links].filter(({ host, isOpen }) => isOpen && from(host)).length,
  }
}

/** One connection, and the one to the server that it is passed on to. */
class Link {
  readonly host: string
  readonly #near: Socket
  readonly #target: () => number
  readonly #onEnd: () => void
  #far: Socket | undefined
  #treatment: Treatment = 'hold'
  /** One side ended while the other was not to know. */
  #hasEnded = false

  constructor(near: Socket, target: () => number, onEnd: () => void) {
    this.#near = near
    this.#target = target
    this.#onEnd = onEnd
    this.host = near.remoteAddress ?? ''
    near.on('error', () => undefined) // its close tells all there is
    near.on('close', (isError) => this.#ended(this.#far, isError))
  }

  get isOpen(): boolean {
    return !this.#near.destroyed
  }

  treat(treatment: Treatment): void {
    if (this.#treatment === 'drop' && treatment !== 'reset') return
    this.#treatment = treatment
    switch (treatment) {
      case 'pass':
        if (this.#hasEnded) this.#cut()
        else this.#pass()
        return
      case 'hold':
        this.#near.pause()
        this.#far?.pause()
        return
      case 'drop':
        this.#near.resume()
        this.#far?.resume()
        return
      case 'reset':
        this.#cut()
    }
  }

  destroy(): void {
    this.#near.destroy()
    this.#far?.destroy()
  }

  #pass(): void {
    if (this.#far === undefined) {
      const far = connect({ port: this.#target(), host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
      this.#far = far
      far.on('error', () => undefined)
      far.on('close', (isError) => this.#ended(this.#near, isError))
      this.#forward(this.#near, far)
      this.#forward(far, this.#near)
    }
    this.#near.resume()
    this.#far.resume()
  }

  #forward(from: Socket, to: Socket): void {
    from.on('data', (bytes: Buffer) => {
      if (this.#treatment === 'drop' || to.destroyed) return
      if (!to.write(bytes)) from.pause()
    })
    to.on('drain', () => {
      if (this.#treatment !== 'hold') from.resume()
    })
    from.on('end', () => {
      if (this.#treatment === 'pass') to.end()
    })
  }

  /** One side is gone. The other learns of it, after all that was sent, unless nothing gets through. */
  #ended(other: Socket | undefined, isError: boolean): void {
    this.#hasEnded = true
    if (this.#treatment === 'pass') {
      if (isError) reset(other)
      else other?.destroySoon()
    }
    if (this.#near.destroyed && (this.#far === undefined || this.#far.destroyed)) this.#onEnd()
  }

  #cut(): void {
    reset(this.#near)
    reset(this.#far)
  }
}

/** A RST, unless it said that it ends: Node 20 then leaves the handle open, and the event loop spins on it. */
function reset(socket: Socket | undefined): void {
  if (socket?.writableEnded) socket.destroy()
  else socket?.resetAndDestroy()
}
