/** A queue with one reader: `next` waits for what `push` brings. */
export class Mailbox<T> {
  readonly #items: { readonly item: T; readonly bytes: number }[] = []
  #bytes = 0
  #wake: ((item: T) => void) | undefined

  /** How many items wait. */
  get count(): number {
    return this.#items.length
  }

  /** The sizes, as given to `push`, of the items that wait. */
  get bytes(): number {
    return this.#bytes
  }

  push(item: T, bytes = 0): void {
    const wake = this.#wake
    this.#wake = undefined
    if (wake !== undefined) return wake(item)
    this.#items.push({ item, bytes })
    this.#bytes += bytes
  }

  next(): Promise<T> {
    const first = this.#items.shift()
    if (first === undefined) return new Promise((resolve) => (this.#wake = resolve))
    this.#bytes -= first.bytes
    return Promise.resolve(first.item)
  }
}
