/** When virtual time begins, milliseconds since 1970. */
export const START_MS = 1_450_000_000_000
/** How much faster or slower than it should a clock may run. */
export const RATE_ERROR = 0.05

/** The clocks of a member: the one on the wall may be wrong and jump, both may run fast or slow. */
export class MemberClock {
  readonly #now: () => number
  readonly #rate: number
  /** Whether it may be set to anything. */
  readonly isWrong: boolean
  /** How far it is ahead, besides its pace. */
  offsetMs = 0

  constructor(now: () => number, options: { readonly rate: number; readonly isWrong: boolean }) {
    this.#now = now
    this.#rate = options.rate
    this.isWrong = options.isWrong
  }

  get wallMs(): number {
    return Math.floor(START_MS + this.offsetMs + this.elapsedMs)
  }

  get elapsedMs(): number {
    return this.#now() * this.#rate
  }
}
