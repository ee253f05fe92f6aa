/**
 * How long this fleetd has been in unbroken contact with the store. After an outage all machine records have expired
 * although no machine has left, so the engine may not believe in a machine's absence before everybody had time to return.
 */
export class Contact {
  readonly #gapMsMax: number
  #since: number | undefined
  #last = 0

  /** Two successes further apart than `gapMsMax` do not belong together: this process or machine was asleep. */
  constructor(gapMsMax: number) {
    this.#gapMsMax = gapMsMax
  }

  /** A write reached the store. */
  succeeded(nowMs: number): void {
    if (nowMs - this.#last > this.#gapMsMax) this.#since = undefined
    this.#since ??= nowMs
    this.#last = nowMs
  }

  /** A request failed: contact begins anew with the next success. */
  failed(): void {
    this.#since = undefined
  }

  /** Milliseconds of unbroken contact, 0 without. */
  heldForMs(nowMs: number): number {
    if (this.#since === undefined || nowMs - this.#last > this.#gapMsMax) return 0
    return nowMs - this.#since
  }
}
