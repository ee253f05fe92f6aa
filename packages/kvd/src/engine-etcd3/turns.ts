/** One piece of work at a time for each key: writes of one front do not make each other fail. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>()

  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    let end: () => void = () => undefined
    const own = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#last.set(key, own)
    try {
      await before
      return await work()
    } finally {
      end()
      if (this.#last.get(key) === own) this.#last.delete(key)
    }
  }
}
