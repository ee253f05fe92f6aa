/** A queue with one reader: `next` waits for what `push` brings. */
export class Mailbox<T> {
  readonly #items: T[] = []
  #wake: ((item: T) => void) | undefined

  get size(): number {
    return this.#items.length
  }

  push(item: T): void {
    const wake = this.#wake
    this.#wake = undefined
    if (wake === undefined) this.#items.push(item)
    else wake(item)
  }

  next(): Promise<T> {
    const item = this.#items.shift()
    if (item !== undefined) return Promise.resolve(item)
    return new Promise((resolve) => (this.#wake = resolve))
  }
}
