/** Lines that a unit may log in an interval; journald's defaults. */
const INTERVAL_MS = 30_000
const BURST = 10_000

/** Counts a unit's lines and says which are too many (journald's RateLimitIntervalSec= and RateLimitBurst=). */
export class RateLimit {
  #beginMs = -Infinity
  #count = 0
  #suppressed = 0

  /** Whether one more line may be kept, and how many were dropped in the interval that it ends. */
  take(nowMs: number): { readonly isAllowed: boolean; readonly suppressed: number } {
    let suppressed = 0
    if (nowMs - this.#beginMs >= INTERVAL_MS || nowMs < this.#beginMs) {
      suppressed = this.#suppressed
      this.#beginMs = nowMs
      this.#count = 0
      this.#suppressed = 0
    }
    this.#count += 1
    const isAllowed = this.#count <= BURST
    if (!isAllowed) this.#suppressed += 1
    return { isAllowed, suppressed }
  }
}
