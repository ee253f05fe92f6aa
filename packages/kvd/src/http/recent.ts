/** A map of bounded size: the entry that was not asked for the longest leaves first. */
export class Recent<V> {
  readonly #entries = new Map<string, V>()
  readonly #countMax: number

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key)
    if (value !== undefined) this.set(key, value)
    return value
  }

  set(key: string, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#countMax) return
    const [oldest] = this.#entries.keys()
    if (oldest !== undefined) this.#entries.delete(oldest)
  }

  /** Forgets every entry that does not pass. */
  keep(passes: (value: V) => boolean): void {
    for (const [key, value] of this.#entries) if (!passes(value)) this.#entries.delete(key)
  }
}
