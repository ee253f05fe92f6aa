/** Runs jobs, at most so many at a time; the others wait in order, at most so many of them. */
export class Limiter {
  readonly #runningMax: number
  readonly #waitingMax: number
  readonly #refuse: () => never
  readonly #waiting: (() => void)[] = []
  #running = 0

  /** @param refuse throws what `run` fails with when the queue is full */
  constructor(runningMax: number, waitingMax: number, refuse: () => never) {
    this.#runningMax = runningMax
    this.#waitingMax = waitingMax
    this.#refuse = refuse
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#running < this.#runningMax) this.#running += 1
    else if (this.#waiting.length < this.#waitingMax)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#refuse()
    try {
      return await job()
    } finally {
      // The place goes straight to the next one, so that nobody can slip in between.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}
