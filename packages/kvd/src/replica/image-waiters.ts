/** Those who go on when the disk has been given an image. */
export class ImageWaiters {
  #frozen: (() => void)[] = []
  #wanted: (() => void)[] = []

  /** Resolves with the next image: nothing overtakes one that is frozen. */
  async frozen(): Promise<void> {
    await new Promise<void>((resolve) => this.#frozen.push(resolve))
  }

  /** Resolves with the first image behind which none is wanted. */
  async wanted(): Promise<void> {
    await new Promise<void>((resolve) => this.#wanted.push(resolve))
  }

  /** A batch with an image is on its way to the disk. @param isWanted a later one is wanted still */
  given(isWanted: boolean): void {
    const goes = isWanted ? this.#frozen : [...this.#frozen, ...this.#wanted]
    this.#frozen = []
    if (!isWanted) this.#wanted = []
    for (const resolve of goes) resolve()
  }
}
