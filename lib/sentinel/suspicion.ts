// The suspicion that our master is none any more, raised by an event or by its own refusal. While it is on,
// commands to the master are held. It ends when the master says that it is one, asked after the suspicion arose and
// after the sentinel that raised it was heard; or when its time is over.

interface Charge {
  readonly since: number
  readonly until: number
  /** The sentinel that announced another master, if it was one. */
  readonly accuser: string | undefined
}

export class Suspicion {
  #charge: Charge | undefined

  get isOn(): boolean {
    return this.#charge !== undefined
  }

  /** A sentinel announced another master; nobody may confirm it, so it is believed for a while only. */
  accuse(accuser: string, forMs: number): void {
    const since = performance.now()
    this.#raise({ since, until: since + forMs, accuser })
  }

  /** The master itself refused a write: only its own word ends that. */
  convict(): void {
    this.#raise({ since: performance.now(), until: Number.POSITIVE_INFINITY, accuser: undefined })
  }

  drop(): void {
    this.#charge = undefined
  }

  /**
   * Ends the suspicion if the answers and the master allow it.
   *
   * @param askedAt when the sentinels were asked
   * @param answered those that answered and did not name another master
   * @param saysMaster asks the master
   */
  async reconsider(
    askedAt: number,
    answered: readonly string[],
    saysMaster: () => Promise<boolean>,
  ): Promise<void> {
    const charge = this.#charge
    if (charge === undefined) return
    const { since, until, accuser } = charge
    const isOver = performance.now() >= until
    const isHeard = accuser === undefined || (askedAt >= since && answered.includes(accuser))
    if (!isOver && !(isHeard && (await saysMaster()))) return
    if (this.#charge === charge) this.#charge = undefined // unless there is a new one meanwhile
  }

  /** The longer one counts. */
  #raise(charge: Charge): void {
    if (this.#charge === undefined || charge.until > this.#charge.until) this.#charge = charge
  }
}
