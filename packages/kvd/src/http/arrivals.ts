/**
 * How long new connections wait, for each that has come, when one comes in every turn: if turns take
 * longer, others are being served in them. The process may also lose its core for some milliseconds.
 */
const MS_PER_ARRIVAL = 0.15
const GRACE_MS = 10
/** And nobody waits longer, however many come. */
const HOLD_MS_MAX = 100
/** So many in one burst are followed by others, even if a turn brings none: their client is busy too. */
const BURST = 4
const QUIET_MS = 1

/** What can be begun: a connection that does not read yet. */
export interface Arrival {
  begin(): void
}

export interface ArrivalsOptions {
  /** Milliseconds that pass evenly. */
  readonly elapsedMs: () => number
  /** Calls back when this turn of the event loop is over, or the next one if this is its end (setImmediate). */
  readonly atTurnEnd: (callback: () => void) => void
}

/**
 * Begins to serve new connections when all of a burst are there. The event loop accepts one in each of
 * its turns (libuv, since 1.46), and a turn is as long as what it serves: the last of 256 busy clients
 * got its first answer after 0.7 s. Turns in which nobody is served are short.
 */
export class Arrivals<Connection extends Arrival> {
  readonly #options: ArrivalsOptions
  #waiting: Connection[] = []
  #isLooking = false
  #hasNew = false
  #sinceMs = 0
  #lastMs = 0

  constructor(options: ArrivalsOptions) {
    this.#options = options
  }

  add(arrival: Connection): void {
    if (this.#waiting.length === 0) this.#sinceMs = this.#options.elapsedMs()
    this.#waiting.push(arrival)
    this.#hasNew = true
    if (this.#isLooking) return
    this.#isLooking = true
    this.#options.atTurnEnd(this.#look)
  }

  /** Begins all that wait, and says which these were. */
  release(): readonly Connection[] {
    const arrived = this.#waiting
    this.#waiting = []
    this.#hasNew = false
    for (const arrival of arrived) arrival.begin()
    return arrived
  }

  readonly #look = (): void => {
    const nowMs = this.#options.elapsedMs()
    if (this.#hasNew) this.#lastMs = nowMs
    const count = this.#waiting.length
    const isOver = !this.#hasNew && (count < BURST || nowMs - this.#lastMs >= QUIET_MS)
    const holdMs = Math.min(GRACE_MS + MS_PER_ARRIVAL * count, HOLD_MS_MAX)
    if (!isOver && nowMs - this.#sinceMs < holdMs) {
      this.#hasNew = false
      this.#options.atTurnEnd(this.#look)
      return
    }
    this.#isLooking = false
    this.release()
  }
}
