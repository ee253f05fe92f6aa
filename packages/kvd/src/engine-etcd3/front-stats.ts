import { COUNTERS, createStats, type Counter } from '../store/stats.ts'
import type { Store } from '../store/store.ts'

/** Counters of `/v2/stats/store` for what this front did: etcd v3 has none of them. */
export class FrontStats {
  readonly #stats = createStats()

  /** Adds what a store counted that was made for one request. */
  add(store: Store): void {
    for (const counter of COUNTERS) this.#stats[counter] += store.counter(counter)
  }

  expired(): void {
    this.#stats.expireCount += 1
  }

  counter(name: Counter): number {
    return this.#stats[name]
  }

  json(watchers: number): string {
    const counters = COUNTERS.map((counter) => `"${counter}":${this.#stats[counter]}`)
    return `{${counters.join(',')},"watchers":${watchers}}`
  }
}
