import type { Clock } from '../../src/embedded/clock.ts'

/** A clock that stands until it is moved. */
export class FakeClock implements Clock {
  #now = Date.UTC(2026, 10, 23, 15, 0, 0)
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>()

  now(): number {
    return this.#now
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  /** Moves on and calls what is due, in order. */
  advance(ms: number): void {
    this.#now += ms
    const due = [...this.#timers].filter(({ at }) => at <= this.#now)
    for (const timer of due.toSorted((a, b) => a.at - b.at)) {
      if (this.#timers.delete(timer)) timer.callback()
    }
  }
}
